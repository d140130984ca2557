"""Drivers: where records are kept.

Reading order: `protocol` (the port: what every driver does), `pool`, `memory` (the reference
driver), `sql` (Postgres and SQLite share one lowering).
"""
