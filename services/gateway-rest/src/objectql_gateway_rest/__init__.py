"""The REST gateway: HTTP in, one bus request out, the kernel's bytes back.

Reading order: `asgi` (request and response, limits), `call` (one request with
its caller and deadline), `routes` (paths to handlers), then one module per surface:
`records`, `bulk`, `actions`, `metadata_routes` for `/api`; `v1`, `v1_data`, `v1_batch`, `v1_meta`
for the ObjectStack client; `sdk`, `sdk_rpc` for the ObjectQL SDK. `params` makes queries,
`representation` envelopes and `problems` error bodies. `metadata_view` keeps the snapshot that
`openapi` and `docs_page` describe. `application` is the table of routes as an ASGI application,
`server` serves it, `app` wires both into a service process.
"""
