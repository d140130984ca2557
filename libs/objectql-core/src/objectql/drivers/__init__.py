"""Drivers: where records are kept.

Reading order: `protocol` (the port: what every driver does), `pool` (connections) and `writer_lock`
(the turn to write), `remembering` (what is kept under an idempotency key), then the reference
driver: `memory_state`, `memory_stores`, `memory`. `sql` holds Postgres and SQLite.
"""
