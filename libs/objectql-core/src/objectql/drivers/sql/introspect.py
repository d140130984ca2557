"""What tables a database has: one question to each catalogue, and its rows as a schema.

Both questions answer rows `table, kind, name, detail`. The detail of a column is its type, that
of an index `columns>`, with `partial` where a condition limits it, that of a foreign key
`column>target table`. A `policy` is one of row-level security.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

INTROSPECT_POSTGRES = """
SELECT t.relname, 'column', a.attname, format_type(a.atttypid, a.atttypmod)
  FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid
 WHERE t.relnamespace = quote_ident(current_schema())::regnamespace AND t.relkind IN ('r', 'p')
   AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT t.relname, 'index', i.relname,
       (SELECT string_agg(a.attname, ',') FROM pg_attribute a WHERE a.attrelid = i.oid)
       || CASE WHEN x.indpred IS NULL THEN '>' ELSE '>partial' END
  FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
 WHERE t.relnamespace = quote_ident(current_schema())::regnamespace AND NOT x.indisprimary AND x.indisvalid
UNION ALL
SELECT t.relname, 'foreign_key', c.conname, a.attname || '>' || r.relname
  FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid JOIN pg_class r ON r.oid = c.confrelid
  JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = c.conkey[cardinality(c.conkey)]
 WHERE t.relnamespace = quote_ident(current_schema())::regnamespace AND c.contype = 'f'
UNION ALL
SELECT t.relname, 'policy', p.polname, '' FROM pg_policy p JOIN pg_class t ON t.oid = p.polrelid
 WHERE t.relnamespace = quote_ident(current_schema())::regnamespace
"""

INTROSPECT_SQLITE = """
SELECT t.name, 'column', c.name, lower(c.type)
  FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'
UNION ALL
SELECT i.tbl_name, 'index', i.name,
       (SELECT group_concat(c.name) FROM pragma_index_info(i.name) c)
       || CASE WHEN instr(i.sql, ' WHERE ') THEN '>partial' ELSE '>' END
  FROM sqlite_schema i WHERE i.type = 'index' AND i.sql IS NOT NULL
UNION ALL
SELECT t.name, 'foreign_key', 'fk_' || t.name || '__' || f."from", f."from" || '>' || f."table"
  FROM sqlite_schema t JOIN pragma_foreign_key_list(t.name) f
 WHERE t.type = 'table' AND f."from" <> 'tenant_id'
"""


class IndexInfo(msgspec.Struct, frozen=True):
    """One index that is not the primary key: its columns, and whether a condition limits it."""

    columns: frozenset[str]
    is_partial: bool


class TableInfo(msgspec.Struct, frozen=True):
    """One table: types by column, indexes, `(column, target table)` by foreign key, policies."""

    columns: Mapping[str, str] = {}
    indexes: Mapping[str, IndexInfo] = {}
    foreign_keys: Mapping[str, tuple[str, str]] = {}
    policies: frozenset[str] = frozenset()


IntrospectedSchema = Mapping[str, TableInfo]
"""The tables of one database by name."""


def parse_introspection(rows: Iterable[Sequence[Any]]) -> IntrospectedSchema:
    """The schema in the rows of either question."""
    columns: dict[str, dict[str, str]] = {}
    indexes: dict[str, dict[str, IndexInfo]] = {}
    foreign_keys: dict[str, dict[str, tuple[str, str]]] = {}
    policies: dict[str, set[str]] = {}
    for table, kind, name, detail in rows:
        if kind == "column":
            columns.setdefault(table, {})[name] = detail
        elif kind == "index":
            names, _, partial = str(detail).partition(">")
            info = IndexInfo(frozenset(names.split(",")), bool(partial))
            indexes.setdefault(table, {})[name] = info
        elif kind == "policy":
            policies.setdefault(table, set()).add(name)
        else:
            column, _, target = str(detail).partition(">")
            foreign_keys.setdefault(table, {})[name] = (column, target)
    return {
        table: TableInfo(
            found,
            indexes.get(table, {}),
            foreign_keys.get(table, {}),
            frozenset(policies.get(table, ())),
        )
        for table, found in columns.items()
    }
