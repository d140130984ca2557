"""The WebSocket gateway: live queries and data operations over sockets.

What is said on them is `objectql.service.live`'s. Here are `server` (the sockets themselves),
`strangers` (who has not said who they are) and `gateway` (all sockets). `app` wires them into a
service process.
"""
