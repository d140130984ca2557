"""Records in SQL databases.

Reading order: `encode`, `dialect` (and one module per dialect), `scope`, `lower_json`, `lower` make
SQL of queries; `column_types`, `introspect`, `ddl` make tables of objects; `record` is a record's
image. Running it: `system` (the tables beside the objects), `errors`, `answers`, `writes` (one
statement per change); `postgres_calls`, `postgres_session`, `postgres`; `sqlite_connection`,
`sqlite_writes`, `sqlite_session`, `sqlite`.
"""
