"""The tables that keep objects, and the steps from the tables that are there to those.

A table has `tenant_id` first and the primary key `(tenant_id, id)`; every index and foreign key
begins with the tenant. Required fields have no NOT NULL: the engine checks them, so that making a
field required stays a change of metadata alone. Foreign keys cascade nothing: the engine does, so
that hooks and events see it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from objectql.drivers.protocol import SchemaPlan, SchemaStep
from objectql.drivers.sql.column_types import change_of, column_type, is_castable
from objectql.drivers.sql.dialect_postgres import words_vector
from objectql.drivers.sql.encode import DialectName
from objectql.drivers.sql.fragment import identifier
from objectql.drivers.sql.introspect import IntrospectedSchema, TableInfo
from objectql.drivers.sql.scope import NOT_NULL, TENANT, table_name
from objectql.errors import Issue, SchemaChangeRefused
from objectql.ids import is_tenants_own
from objectql.metadata.model import SHARES, FieldDef, ObjectDef
from objectql.metadata.types import Storage

_MAX_IDENTIFIER = 63
_DIGEST_CHARS = 10
MAX_COLUMNS = 1400
"""Of a table to which fields of tenants are added: Postgres allows 1600, and the published metadata
may need some more."""
_SOFT_DELETED = "deleted_at"
_DEFAULTS = {
    "version": "1",
    "created_at": "'1970-01-01T00:00:00.000Z'",
    "updated_at": "'1970-01-01T00:00:00.000Z'",
}
"""For system columns added to a table that has rows already."""


class Index(NamedTuple):
    """An index of an object's table; the tenant comes before `keys`, the columns.

    They also name it. A unique index of an object with soft delete skips deleted records; one over
    a slot that tenants share skips nulls, so that nobody pays for it who keeps nothing there.
    """

    name: str
    keys: tuple[str, ...]
    unique: bool
    skips_deleted: bool
    over_words: bool = False
    skips_null: bool = False

    @property
    def is_partial(self) -> bool:
        """Whether it skips anything."""
        return self.skips_deleted or self.skips_null

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns in order.

        One that is not unique ends in `id`, which ends every order: a page of the records with
        one value is then read from the index, and not picked out of all of them by a sort. An
        index that is there without it stays: to make it anew would lock a large table.
        """
        tie = () if self.unique or "id" in self.keys else ("id",)
        return (TENANT, *self.keys, *tie)


def is_shared_slot(object_: ObjectDef, column: str) -> bool:
    """Whether `column` of the object's table keeps fields of tenants, of each another one."""
    return is_tenants_own(column) and not is_tenants_own(object_.name)


def constraint_name(prefix: str, table: str, columns: Sequence[str]) -> str:
    """The name of an index or foreign key, `uq_invoice__number`; long ones end in a digest."""
    name = f"{prefix}_{table}__{'__'.join(columns)}"
    if len(name) <= _MAX_IDENTIFIER:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARS]
    return f"{name[: _MAX_IDENTIFIER - _DIGEST_CHARS - 1]}_{digest}"


def indexes_of(object_: ObjectDef) -> tuple[Index, ...]:
    """The indexes of the object's table beside the primary key, each name once."""
    table = table_name(object_)
    soft = _SOFT_DELETED in object_.fields
    found: dict[str, Index] = {}

    def add(keys: tuple[str, ...], *, unique: bool) -> None:
        if keys == ("id",):
            return
        name = constraint_name("uq" if unique else "ix", table, keys)
        is_shared = is_shared_slot(object_, keys[0])
        found[name] = Index(name, keys, unique, unique and soft, skips_null=is_shared)

    for field in object_.stored_fields:
        if field.unique:
            add((field.column_name,), unique=True)
        elif (field.index or field.is_lookup) and field.storage not in {Storage.JSON, Storage.LIST}:
            add((field.column_name,), unique=False)
    for index in object_.indexes:
        columns = (
            object_.fields[name].column_name if name in object_.fields else str(name)
            for name in index.fields
        )
        add(tuple(columns), unique=index.unique)
    return tuple(found.values())


def word_indexes_of(object_: ObjectDef) -> tuple[Index, ...]:
    """The indexes, on Postgres, that answer searches by words: one for each searchable text.

    Slots that tenants share have none: every tenant would pay for it at every write.
    """
    table = table_name(object_)
    return tuple(
        Index(word_index_name(table, field), (field.column_name,), False, False, over_words=True)  # noqa: FBT003
        for field in object_.stored_fields
        if field.searchable and field.storage is Storage.TEXT
        if not is_shared_slot(object_, field.column_name)
    )


def word_index_name(table: str, field: FieldDef) -> str:
    """The name of the index over the words of `field`."""
    return constraint_name("ix", table, (field.column_name, "words"))


def references_of(object_: ObjectDef, tables: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Foreign keys by name: the lookup column and the table it points to.

    `tables` maps the objects of the same database to their tables; others cannot be referenced.
    """
    return {
        constraint_name("fk", table_name(object_), (field.column_name,)): (
            field.column_name,
            tables[field.reference],
        )
        for field in object_.stored_fields
        if field.reference is not None
        and field.reference in tables
        and field.storage is Storage.TEXT
    }


def plan_tables(
    existing: IntrospectedSchema,
    objects: Sequence[ObjectDef],
    dialect: DialectName,
    *,
    allow_destructive: bool = False,
) -> SchemaPlan:
    """The steps after which the tables of `existing` keep `objects`.

    Tables come first, then columns, indexes and foreign keys, so that the order of objects does
    not matter. Steps that lose data are `refused` unless allowed. Tables that belong to none of
    `objects` are left alone: they may be another application's.
    """
    tables = {str(object_.name): table_name(object_) for object_ in objects}
    creations: list[SchemaStep] = []
    changes: list[SchemaStep] = []
    references: list[SchemaStep] = []
    for object_ in objects:
        table = table_name(object_)
        keys = references_of(object_, tables)
        known = existing.get(table)
        if known is None:
            creations.append(_create_table(object_, keys, dialect))
            known = TableInfo()
        else:
            changes += _change_columns(object_, known, dialect)
        changes += _change_indexes(object_, known, dialect)
        if dialect == "postgres":
            references += _change_references(object_, known, keys)
    steps = (*creations, *changes, *references)
    if allow_destructive:
        return SchemaPlan(steps)
    return SchemaPlan(
        tuple(step for step in steps if not step.destructive),
        tuple(step for step in steps if step.destructive),
    )


def _create_table(
    object_: ObjectDef, keys: Mapping[str, tuple[str, str]], dialect: DialectName
) -> SchemaStep:
    table = table_name(object_)
    text = 'text COLLATE "C"' if dialect == "postgres" else "text"
    lines = [f"{identifier(TENANT)} {text} NOT NULL"]
    for field in object_.stored_fields:
        not_null = " NOT NULL" if field.name in NOT_NULL else ""
        lines.append(f"{identifier(field.column_name)} {_declared(field, dialect)}{not_null}")
    lines.append(f"PRIMARY KEY ({identifier(TENANT)}, {identifier('id')})")
    if dialect == "sqlite":  # which cannot add a foreign key later
        lines += [
            f"CONSTRAINT {identifier(name)} {_reference(column, target)}"
            for name, (column, target) in keys.items()
        ]
    body = ",\n  ".join(lines)
    return SchemaStep(f"create table {table}", f"CREATE TABLE {identifier(table)} (\n  {body}\n)")


def _declared(field: FieldDef, dialect: DialectName) -> str:
    kind = column_type(field, dialect)
    # By code point, as every driver compares text, whatever the database's locale is.
    return f'{kind} COLLATE "C"' if kind == "text" and dialect == "postgres" else kind


def _change_columns(
    object_: ObjectDef, known: TableInfo, dialect: DialectName
) -> Iterator[SchemaStep]:
    table = table_name(object_)
    fields = {field.column_name: field for field in object_.stored_fields}
    added = fields.keys() - known.columns.keys()
    if len(known.columns) + len(added) > MAX_COLUMNS and any(map(is_tenants_own, added)):
        reason = f"the table {table} has room for {MAX_COLUMNS} columns; tenants took up the rest"
        raise SchemaChangeRefused(issues=(Issue(table, "too_many_columns", reason),))
    for name, field in fields.items():
        if name not in known.columns:
            yield _add_column(table, field, dialect)
        elif known.columns[name] != column_type(field, dialect):
            yield from _change_type(table, field, known, dialect)
    for name in known.columns:
        # Shares wait for their rule to come back; without it they mean nothing.
        if name not in fields and name not in (TENANT, SHARES) and not is_tenants_own(name):
            yield from _drop_column(table, name, known, dialect)


def _add_column(table: str, field: FieldDef, dialect: DialectName) -> SchemaStep:
    extra = f" NOT NULL DEFAULT {_DEFAULTS[field.name]}" if field.name in _DEFAULTS else ""
    return SchemaStep(
        f"add column {table}.{field.column_name}",
        f"ALTER TABLE {identifier(table)} ADD COLUMN {identifier(field.column_name)} "
        f"{_declared(field, dialect)}{extra}",
    )


def _drop_column(
    table: str, name: str, known: TableInfo, dialect: DialectName
) -> Iterator[SchemaStep]:
    if dialect == "sqlite":  # which refuses to drop a column that an index or foreign key uses
        if any(column == name for column, _ in known.foreign_keys.values()):
            return  # stays, unused
        yield from _drop_indexes_over(name, known, destructive=True)
    yield SchemaStep(
        f"drop column {table}.{name} and its values",
        f"ALTER TABLE {identifier(table)} DROP COLUMN {identifier(name)}",
        destructive=True,
    )


def _drop_indexes_over(column: str, known: TableInfo, *, destructive: bool) -> Iterator[SchemaStep]:
    for name, index in known.indexes.items():
        if column in index.columns:
            yield _drop_index(name, destructive=destructive)


def _change_type(
    table: str, field: FieldDef, known: TableInfo, dialect: DialectName
) -> Iterator[SchemaStep]:
    old, new = known.columns[field.column_name], column_type(field, dialect)
    column = identifier(field.column_name)
    change = change_of(old, new, dialect)
    what = f"change {table}.{field.column_name} from {old} to {new}"
    if not change.is_safe:
        what += ", rounding its values" if is_castable(old, new) else ", dropping its values"
    destructive = not change.is_safe
    if dialect == "postgres":
        words = word_index_name(table, field)
        if words in known.indexes:  # which may have no meaning for the new type
            yield _drop_index(words, destructive=destructive)
        using = change.expression.format(column)
        yield SchemaStep(
            what,
            f"ALTER TABLE {identifier(table)} ALTER COLUMN {column} "
            f"TYPE {_declared(field, dialect)} USING {using}",
            destructive=destructive,
        )
        return
    if any(column == field.column_name for column, _ in known.foreign_keys.values()):
        reason = "SQLite cannot change the type of a lookup; give the field a new name"
        place = f"{table}.{field.column_name}"
        raise SchemaChangeRefused(issues=(Issue(place, "destructive", reason),))
    # SQLite has no change of type: a new column takes over the values and the name.
    former = identifier(f"{field.column_name}__former")
    yield from _drop_indexes_over(field.column_name, known, destructive=destructive)
    for statement in (
        f"ALTER TABLE {identifier(table)} RENAME COLUMN {column} TO {former}",
        f"ALTER TABLE {identifier(table)} ADD COLUMN {column} {new}",
        f"UPDATE {identifier(table)} SET {column} = {change.expression.format(former)}",  # noqa: S608
        f"ALTER TABLE {identifier(table)} DROP COLUMN {former}",
    ):
        yield SchemaStep(what, statement, destructive=destructive)


# --- indexes and foreign keys ----------------------------------------------------------------


def _change_indexes(
    object_: ObjectDef, known: TableInfo, dialect: DialectName
) -> Iterator[SchemaStep]:
    table = table_name(object_)
    indexes = indexes_of(object_)
    if dialect == "postgres":
        indexes += word_indexes_of(object_)
    wanted = {index.name: index for index in indexes}
    rebuilt = {
        field.column_name
        for field in object_.stored_fields
        if dialect == "sqlite"
        and known.columns.get(field.column_name, "") != column_type(field, dialect)
    }
    gone: set[str] = set()
    for name, found in known.indexes.items():
        index = wanted.get(name)
        is_ours = name.startswith((f"ix_{table}__", f"uq_{table}__"))
        is_ours = is_ours and not any(is_shared_slot(object_, column) for column in found.columns)
        if (index is None and is_ours) or (index and index.is_partial != found.is_partial):
            gone.add(name)
            yield _drop_index(name)
    for name, index in wanted.items():
        if name in gone or name not in known.indexes or rebuilt & set(index.keys):
            yield _create_index(table, index)


def _drop_index(name: str, *, destructive: bool = False) -> SchemaStep:
    return SchemaStep(f"drop index {name}", f"DROP INDEX IF EXISTS {identifier(name)}", destructive)


def _create_index(table: str, index: Index) -> SchemaStep:
    if index.over_words:
        words = words_vector(identifier(index.keys[0]))
        return SchemaStep(
            f"create index {index.name}",
            f"CREATE INDEX IF NOT EXISTS {identifier(index.name)} ON {identifier(table)} USING gin ({words})",
        )
    unique = "UNIQUE " if index.unique else ""
    columns = ", ".join(identifier(name) for name in index.columns)
    skipped = [f"{identifier(_SOFT_DELETED)} IS NULL"] if index.skips_deleted else []
    skipped += [f"{identifier(index.keys[0])} IS NOT NULL"] if index.skips_null else []
    where = f" WHERE {' AND '.join(skipped)}" if skipped else ""
    return SchemaStep(
        f"create {unique.lower()}index {index.name}",
        f"CREATE {unique}INDEX IF NOT EXISTS {identifier(index.name)} ON {identifier(table)} ({columns}){where}",
    )


def _change_references(
    object_: ObjectDef, known: TableInfo, keys: Mapping[str, tuple[str, str]]
) -> Iterator[SchemaStep]:
    table = table_name(object_)
    for name, target in known.foreign_keys.items():
        is_ours = name.startswith(f"fk_{table}__") and not is_shared_slot(object_, target[0])
        if keys.get(name) != target and is_ours:
            yield SchemaStep(
                f"drop foreign key {name}",
                f"ALTER TABLE {identifier(table)} DROP CONSTRAINT IF EXISTS {identifier(name)}",
            )
    for name, (column, target) in keys.items():
        if known.foreign_keys.get(name) != (column, target):
            yield SchemaStep(
                f"add foreign key {name}",
                f"ALTER TABLE {identifier(table)} "
                f"ADD CONSTRAINT {identifier(name)} {_reference(column, target)}",
            )


def _reference(column: str, target: str) -> str:
    return (
        f"FOREIGN KEY ({identifier(TENANT)}, {identifier(column)}) REFERENCES "
        f"{identifier(target)} ({identifier(TENANT)}, {identifier('id')}) "
        "DEFERRABLE INITIALLY IMMEDIATE"
    )
