"""Live queries as every gateway serves them; a gateway adds what carries them, and its words.

Reading order: `frames` (what is said as JSON), `listener` (one client, in any words), `session` (one
that speaks in frames), `subscription` (one of its live queries), `subscribing` (how one comes to
be), `joining` (where lookups are followed), `hub` (the event stream, matched once for all),
`listeners` (all clients, and what ends their right). `running` wires them into a process.
"""
