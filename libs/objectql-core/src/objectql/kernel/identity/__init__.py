"""Who is calling: sign-ins, sessions, API keys, users, and what is void.

In reading order: `policy` (what can be set), `secret_texts` (tokens and keys as text), `hashing`
(passwords, beside the event loop), `signing` (the cluster's own keys), `directory` (the store as the
others see it), `sessions`, `users`, `api_keys`, `identity` (all of it, in the structs of the bus).
"""
