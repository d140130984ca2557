"""The WebSocket gateway: live queries over sockets.

Reading order: `frames` (what is said), `session` (one client), `subscription` (one of its live
queries), `subscribing` (how one comes to be), `hub` (the event stream, matched once for all),
`gateway` (all clients, and what ends their right), `server` (the sockets themselves). `app` wires
them into a service process.
"""
