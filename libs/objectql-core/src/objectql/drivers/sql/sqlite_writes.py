"""Changes of records on SQLite: a few short statements in one transaction, run in one thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from objectql.drivers.history import redacted
from objectql.drivers.protocol import RowWrite, WriteOutcome, WriteScope
from objectql.drivers.sql.dialect_sqlite import SQLITE
from objectql.drivers.sql.encode import Encoder, column_encoder
from objectql.drivers.sql.errors import (
    REFERENCE_STATE,
    ConstraintNames,
    references_in,
    translate,
)
from objectql.drivers.sql.fragment import identifier
from objectql.drivers.sql.record import image_text
from objectql.drivers.sql.scope import table_name
from objectql.drivers.sql.sqlite_connection import SqliteConnection, refusal_of
from objectql.drivers.sql.writes import AUDIT_FIELDS, EVENT_KINDS
from objectql.errors import DeleteRestricted, Issue, ObjectQLError, ValidationFailed
from objectql.ids import FieldName
from objectql.metadata.model import ObjectDef
from objectql.values import Value

_EVENT = """event_id, tenant, object, record_id, kind, version, at, actor,
request_id, traceparent, batch, batch_size, before, after"""
_OUTBOX = f"INSERT INTO oql_outbox ({_EVENT}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_HISTORY = f"INSERT INTO oql_history ({_EVENT}, origin) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"


class _Statements(NamedTuple):
    """What is made once for each object."""

    object: ObjectDef
    table: str
    columns: Mapping[str, str]
    """The column of each field, as SQL."""
    encoders: Mapping[str, Encoder]
    image: str
    delete: str


class _Stored(NamedTuple):
    version: int
    image: str


class SqliteWriter:
    """Does `RowWrite`s on a connection that is inside a transaction."""

    def __init__(self, names: ConstraintNames) -> None:
        self._names = names
        self._made: dict[int, _Statements] = {}

    def apply(
        self, connection: SqliteConnection, writes: Sequence[RowWrite], scope: WriteScope
    ) -> tuple[WriteOutcome, ...]:
        """See `Session.apply`."""
        return tuple([self._apply_one(connection, write, scope) for write in writes])

    def stored(
        self, connection: SqliteConnection, object_: ObjectDef, tenant: str, id_: str
    ) -> tuple[int, str] | None:
        """Version and image of a record."""
        rows = connection.rows(self._statements(object_).image, (tenant, id_))
        return _Stored(*rows[0]) if rows else None

    def _apply_one(
        self, connection: SqliteConnection, write: RowWrite, scope: WriteScope
    ) -> WriteOutcome:
        made = self._statements(write.object)
        try:
            return self._change(connection, made, write, scope)
        except ValidationFailed as exc:  # of an encoder, which does not know the object
            raise ValidationFailed(object=write.object.name, issues=exc.issues) from exc
        except sqlite3.Error as exc:
            refusal = refusal_of(exc)
            if refusal.state == REFERENCE_STATE:
                raise self._reference_error(connection, write, scope) from exc
            raise translate(
                refusal, self._names, doing=write.kind, object_=write.object, id_=write.id
            ) from exc

    def _change(
        self, connection: SqliteConnection, made: _Statements, write: RowWrite, scope: WriteScope
    ) -> WriteOutcome:
        key = (scope.tenant, write.id)
        if write.kind == "insert":
            connection.rows(*_insert(made, write, scope))
            new = _Stored(*connection.rows(made.image, key)[0])
            return _note(connection, write, scope, None, new)
        rows = connection.rows(made.image, key)
        if not rows:
            return WriteOutcome("missing")
        old = _Stored(*rows[0])
        if write.expected_version is not None and write.expected_version != old.version:
            return WriteOutcome("stale", old.version, old.image.encode())
        if write.kind == "delete":
            connection.rows(made.delete, key)
            return _note(connection, write, scope, old, None)
        text, params = _update(made, write)
        if not text or not connection.change(text, (*params[0], *key, *params[1])):
            image = old.image.encode()
            return WriteOutcome("unchanged", old.version, image, image)
        new = _Stored(*connection.rows(made.image, key)[0])
        return _note(connection, write, scope, old, new)

    def _reference_error(
        self, connection: SqliteConnection, write: RowWrite, scope: WriteScope
    ) -> ObjectQLError:
        """SQLite does not tell which reference it was, so look."""
        if write.kind == "delete":
            return DeleteRestricted(
                object=write.object.name,
                id=write.id,
                referenced_by=self._referrer(connection, write, scope),
            )
        issues: list[Issue] = []
        for field, target in references_in(write.object).items():
            table, id_ = self._names.table_of(target), write.values.get(field)
            if table is None or id_ is None:
                continue
            found = f"SELECT 1 FROM {identifier(table)} WHERE tenant_id = ? AND id = ?"
            if not connection.rows(found, (scope.tenant, id_)):
                issues.append(Issue(field, "reference_not_found", "there is no such record"))
        return ValidationFailed(object=write.object.name, issues=tuple(issues))

    def _referrer(self, connection: SqliteConnection, write: RowWrite, scope: WriteScope) -> str:
        for other in self._names.objects:
            for field, target in references_in(other).items():
                if target != write.object.name:
                    continue
                table = identifier(table_name(other))
                column = identifier(other.fields[FieldName(field)].column_name)
                found = f"SELECT 1 FROM {table} WHERE tenant_id = ? AND {column} = ?"
                if connection.rows(f"{found} LIMIT 1", (scope.tenant, write.id)):
                    return other.name
        return "another record"

    def _statements(self, object_: ObjectDef) -> _Statements:
        made = self._made.get(id(object_))
        if made is None:  # the object is kept with them, so its id is not used again
            self._names.learn((object_,))
            table = identifier(table_name(object_))
            image = image_text(object_, "r", SQLITE)
            made = _Statements(
                object_,
                table,
                {f.name: identifier(f.column_name) for f in object_.stored_fields},
                {f.name: column_encoder(f, "sqlite") for f in object_.stored_fields},
                f"SELECT r.version, {image} FROM {table} AS r WHERE tenant_id = ? AND id = ?",
                f"DELETE FROM {table} WHERE tenant_id = ? AND id = ?",
            )
            if len(self._made) >= 1024:  # objects of past metadata versions
                self._made.clear()
            self._made[id(object_)] = made
        return made


def _encoded(made: _Statements, values: Mapping[str, Value]) -> dict[str, object]:
    """The values of columns, ready for SQLite.

    Raises:
        ValidationFailed: naming every value that cannot be stored.

    """
    encoded: dict[str, object] = {}
    issues: list[Issue] = []
    for name, value in values.items():
        try:
            encoded[name] = made.encoders[name](value)
        except ValidationFailed as exc:
            issues += exc.issues
    if issues:
        raise ValidationFailed(object=made.object.name, issues=tuple(issues))
    return encoded


def _insert(
    made: _Statements, write: RowWrite, scope: WriteScope
) -> tuple[str, tuple[object, ...]]:
    values = _encoded(made, write.values)
    columns = ", ".join(made.columns[name] for name in values)
    holes = ", ?" * len(values)
    text = f"INSERT INTO {made.table} (tenant_id, {columns}) VALUES (?{holes})"
    return text, (scope.tenant, *values.values())


def _update(
    made: _Statements, write: RowWrite
) -> tuple[str, tuple[Sequence[object], Sequence[object]]]:
    """The statement with the parameters before and after the record's key; empty when it sets
    nothing of the caller's.
    """
    values = _encoded(made, {k: v for k, v in write.values.items() if k != "version"})
    steps = _encoded(made, write.increments)
    targets = dict.fromkeys(values, "?")
    targets |= {name: f"COALESCE({made.columns[name]}, 0) + ?" for name in steps}
    params = {**values, **steps}
    own = [name for name in targets if name not in AUDIT_FIELDS]
    if not own:
        return "", ((), ())
    sets = ", ".join(f"{made.columns[name]} = {target}" for name, target in targets.items())
    differs = " OR ".join(f"{made.columns[name]} IS NOT {targets[name]}" for name in own)
    text = (
        f"UPDATE {made.table} SET {sets}, version = version + 1 "
        f"WHERE tenant_id = ? AND id = ? AND ({differs})"
    )
    return text, ([params[name] for name in targets], [params[name] for name in own])


def _note(
    connection: SqliteConnection,
    write: RowWrite,
    scope: WriteScope,
    old: _Stored | None,
    new: _Stored | None,
) -> WriteOutcome:
    """The outcome of a write that was done, with its event in the outbox and, if kept, the history."""
    version = new.version if new is not None else 0
    if old is not None and new is None:
        version = old.version + 1
    before = None if old is None else old.image
    after = None if new is None else new.image
    event = (
        write.event_id,
        scope.tenant,
        write.object.name,
        write.id,
        EVENT_KINDS[write.kind],
        version,
        write.at,
        scope.actor,
        scope.request_id,
        scope.traceparent,
        scope.batch,
        scope.batch_size,
        before,
        after,
    )
    connection.rows(_OUTBOX, event)
    if write.object.enable.track_history:
        kept = before, after
        if write.object.audit.redact:
            images = redacted(before, after, write.object.audit.redact)
            kept = tuple(None if image is None else image.decode() for image in images)
        connection.rows(_HISTORY, (*event[:-2], *kept, scope.origin))
    return WriteOutcome(
        "written",
        version,
        None if before is None else before.encode(),
        None if after is None else after.encode(),
    )
