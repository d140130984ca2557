"""The engine: components come up, requests go through, rows and events come out.

Reading order: `kernel` (life and Python interface) → `operations` (one method per verb) →
`pipeline` (the order around each) → `engine` (what all parts share) → `read` → `write` (one round
trip) → `unit` (one transaction, every step of a write) → `change`, `validate`, `rules`,
`record_checks`, `hook_calls`, `references`, `autonumber`, `upsert` (its parts) → `bulk`, `batch`,
`actions`, `api` → `metadata`, `documents`, `packages`, `reload`, `seed`, `search` → `relay`,
`failpoints` → `protocol`, `features`.
"""
