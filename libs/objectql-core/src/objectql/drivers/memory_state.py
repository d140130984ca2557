"""The state of the memory driver: committed rows, and a transaction's changes laid over them.

One transaction writes at a time (the driver holds a lock), so a transaction is a set of overlays:
readers outside go on seeing the committed rows, rollback forgets the overlays, commit merges them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar, cast

import msgspec

from objectql.drivers.history import redacted
from objectql.drivers.protocol import RowWrite, WriteOutcome, WriteScope
from objectql.drivers.transactions import Mark
from objectql.errors import DeleteRestricted, Issue, UniqueViolation, ValidationFailed
from objectql.events import ChangeEvent, ChangeKind
from objectql.ids import TenantId
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.slots import own_table
from objectql.metadata.types import Storage
from objectql.values import Record, Value

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

AUDIT_FIELDS = frozenset({"updated_at", "updated_by", "version"})
"""Fields that come with every update and do not make one."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


def to_json(value: object) -> bytes:
    """`value` as JSON; decimals are numbers."""
    return _encode(value)


def image_of(object_: ObjectDef, row: Record) -> bytes:
    """All readable stored fields in declaration order."""
    return to_json({field.name: row.get(field.name) for field in object_.readable_fields})


def table_of(object_: ObjectDef) -> str:
    """What keeps the records of `object_`."""
    return object_.table or object_.name


def renamed(row: Record, names: Mapping[Any, str]) -> Record:
    """`row` with other keys for those in `names`: fields to the columns that keep them, and back."""
    return {names.get(key, key): value for key, value in row.items()} if names else row


def is_same(one: Value, other: Value) -> bool:
    """Whether two stored values are equal; unlike in Python, `True` is not `1`."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return one == other


class Remembering(NamedTuple):
    """An idempotency record."""

    body_hash: bytes
    reply: bytes
    at_ms: int


class Tables(NamedTuple):
    """What is committed. Rows are never changed in place."""

    rows: dict[tuple[str, str], dict[str, Record]]
    """By (table, tenant), then by id."""
    uniques: dict[tuple[Hashable, ...], str]
    """The id that holds the values: (table, fields, tenant, *values)."""
    remembered: dict[tuple[str, str, str], Remembering]
    sequences: dict[tuple[str, str], int]
    marks: dict[str, tuple[Mark, int]]
    """Of committed transactions, with when that was (Unix ms)."""
    objects: dict[str, ObjectDef]
    """By table."""

    def forget(self, tenant: TenantId) -> None:
        """Drop all that is of `tenant`."""
        _drop(self.rows, [key for key in self.rows if key[1] == tenant])
        _drop(self.uniques, [key for key in self.uniques if key[2] == tenant])
        _drop(self.remembered, [key for key in self.remembered if key[0] == tenant])
        _drop(self.sequences, [key for key in self.sequences if key[0] == tenant])
        _drop(self.marks, [key for key, (mark, _) in self.marks.items() if mark.tenant == tenant])


def _drop(table: dict[K, V], keys: list[K]) -> None:
    for key in keys:
        del table[key]


class Overlay(Generic[K, V]):
    """Changes over a mapping that stays as it is until `merge`. `None` is a deletion."""

    def __init__(self, base: dict[K, V]) -> None:
        self._base = base
        self.changes: dict[K, V | None] = {}

    def get(self, key: K) -> V | None:
        return self.changes[key] if key in self.changes else self._base.get(key)

    def put(self, key: K, value: V | None) -> None:
        self.changes[key] = value

    def values(self) -> Iterator[V]:
        for key, value in self._base.items():
            if key not in self.changes:
                yield value
        for value in self.changes.values():
            if value is not None:
                yield value

    def merge(self) -> None:
        for key, value in self.changes.items():
            if value is None:
                self._base.pop(key, None)
            else:
                self._base[key] = value


class Transaction:
    """One transaction's view. Synchronous: nothing else runs during a method."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._rows: dict[tuple[str, str], Overlay[str, Record]] = {}
        self._uniques = Overlay(tables.uniques)
        self.remembered = Overlay(tables.remembered)
        self.sequences = Overlay(tables.sequences)
        self.marks = Overlay(tables.marks)
        self.events: list[ChangeEvent] = []
        self.history: list[ChangeEvent] = []
        """Those of `events` that are kept."""

    def rows_of(self, object_: ObjectDef, tenant: str) -> Iterator[Record]:
        """All records of an object in a tenant."""
        rows = self._table(table_of(object_), tenant).values()
        fields = {f.column: f.name for f in object_.stored_fields if f.column}
        return (renamed(row, fields) for row in rows) if fields else rows

    def row(self, object_: ObjectDef, tenant: str, id_: str) -> Record | None:
        """One record."""
        row = self._table(table_of(object_), tenant).get(id_)
        fields = {f.column: f.name for f in object_.stored_fields if f.column}
        return row if row is None else renamed(row, fields)

    def apply(self, write: RowWrite, scope: WriteScope) -> WriteOutcome:
        """Do one write and note its event.

        Raises:
            UniqueViolation, ValidationFailed, DeleteRestricted: the transaction is then unusable.

        """
        self._tables.objects[table_of(write.object)] = write.object
        if write.kind == "insert":
            return self._insert(write, scope)
        row = self.row(write.object, scope.tenant, write.id)
        if row is None:
            return WriteOutcome("missing")
        before = image_of(write.object, row)
        version = cast("int", row["version"])
        if write.expected_version is not None and write.expected_version != version:
            return WriteOutcome("stale", version, before)
        if write.kind == "delete":
            return self._delete(write, scope, row, before)
        return self._update(write, scope, row, before)

    def _insert(self, write: RowWrite, scope: WriteScope) -> WriteOutcome:
        if self.row(write.object, scope.tenant, write.id) is not None:
            raise UniqueViolation(object=write.object.name, fields=("id",))
        row: Record = {k: value for k, value in write.values.items() if value is not None}
        self._check_text(write.object, row)
        self._put(write.object, scope.tenant, write.id, None, row)
        self._check_references(write.object, scope.tenant, row)
        after = image_of(write.object, row)
        version = cast("int", row["version"])
        self._note(write, scope, version, after=after)
        return WriteOutcome("written", version, None, after)

    def _update(
        self, write: RowWrite, scope: WriteScope, row: Record, before: bytes
    ) -> WriteOutcome:
        values = dict(write.values)
        for name, step in write.increments.items():
            values[name] = cast("Any", row.get(name) or 0) + step
        version = cast("int", row["version"])
        if all(
            name in AUDIT_FIELDS or is_same(row.get(name), value) for name, value in values.items()
        ):
            return WriteOutcome("unchanged", version, before, before)
        self._check_text(write.object, values)
        changed: Record = {**row, **values, "version": version + 1}
        self._put(write.object, scope.tenant, write.id, row, changed)
        self._check_references(write.object, scope.tenant, values)
        after = image_of(write.object, changed)
        self._note(write, scope, version + 1, before=before, after=after)
        return WriteOutcome("written", version + 1, before, after)

    def _delete(
        self, write: RowWrite, scope: WriteScope, row: Record, before: bytes
    ) -> WriteOutcome:
        version = cast("int", row["version"]) + 1
        self._put(write.object, scope.tenant, write.id, row, None)
        self._check_referrers(write, scope.tenant)
        self._note(write, scope, version, before=before)
        return WriteOutcome("written", version, before)

    def _put(
        self, object_: ObjectDef, tenant: str, id_: str, old: Record | None, new: Record | None
    ) -> None:
        freed = dict(_unique_keys(object_, tenant, old or {}))
        taken = dict(_unique_keys(object_, tenant, new or {}))
        for key, fields in taken.items():
            if self._uniques.get(key) not in {None, id_}:
                raise UniqueViolation(object=object_.name, fields=fields)
        for key in freed:
            self._uniques.put(key, None)
        for key in taken:
            self._uniques.put(key, id_)
        columns = {f.name: f.column for f in object_.stored_fields if f.column}
        self._table(table_of(object_), tenant).put(id_, new and renamed(new, columns))

    def _check_text(self, object_: ObjectDef, values: Mapping[str, Value]) -> None:
        issues = tuple(
            Issue(name, "invalid_text", "the character U+0000 cannot be stored")
            for name, value in values.items()
            if isinstance(value, str) and "\0" in value
        )
        if issues:
            raise ValidationFailed(object=object_.name, issues=issues)

    def _check_references(
        self, object_: ObjectDef, tenant: str, values: Mapping[str, Value]
    ) -> None:
        issues: list[Issue] = []
        for field in object_.stored_fields:
            target = self._target(field, tenant)
            id_ = values.get(field.name)
            if target is None or field.storage is not Storage.TEXT or id_ is None:
                continue
            if self.row(target, tenant, cast("str", id_)) is None:
                issues.append(Issue(field.name, "reference_not_found", "there is no such record"))
        if issues:
            raise ValidationFailed(object=object_.name, issues=tuple(issues))

    def _target(self, field: FieldDef, tenant: str) -> ObjectDef | None:
        """What `field` points to, if it is known: an object of the tenant alone, or anybody's."""
        name = field.reference
        if name is None:
            return None
        own = self._tables.objects.get(own_table(TenantId(tenant), name))
        return own or next((o for o in self._tables.objects.values() if o.name == name), None)

    def _check_referrers(self, write: RowWrite, tenant: str) -> None:
        for other in self._tables.objects.values():
            for field in other.stored_fields:
                if field.reference != write.object.name or field.storage is not Storage.TEXT:
                    continue
                if any(row.get(field.name) == write.id for row in self.rows_of(other, tenant)):
                    raise DeleteRestricted(
                        object=write.object.name, id=write.id, referenced_by=other.name
                    )

    def _note(
        self,
        write: RowWrite,
        scope: WriteScope,
        version: int,
        *,
        before: bytes | None = None,
        after: bytes | None = None,
    ) -> None:
        kind: ChangeKind = "updated"
        if before is None or after is None:
            kind = "created" if before is None else "deleted"
        event = ChangeEvent(
            id=write.event_id,
            tenant=scope.tenant,
            object=write.object.name,
            record_id=write.id,
            kind=kind,
            version=version,
            at=write.at,
            actor=scope.actor,
            before=before,
            after=after,
            request_id=scope.request_id,
            traceparent=scope.traceparent,
            batch=scope.batch,
            batch_size=scope.batch_size,
        )
        self.events.append(event)
        if write.object.enable.track_history:
            if write.object.audit.redact:
                before, after = redacted(before, after, write.object.audit.redact)
            kept = msgspec.structs.replace(event, before=before, after=after, origin=scope.origin)
            self.history.append(kept)

    def next_sequence(self, tenant: TenantId, scope: str, count: int) -> int:
        """The first of `count` reserved numbers."""
        last = self.sequences.get((tenant, scope)) or 0
        self.sequences.put((tenant, scope), last + count)
        return last + 1

    def mark(self) -> object:
        """The state now, for `undo_to`."""
        overlays = [(overlay, dict(overlay.changes)) for overlay in self._overlays()]
        return overlays, len(self.events), len(self.history)

    def undo_to(self, mark: Any) -> None:
        """Forget what was done since `mark`."""
        overlays, events, history = mark
        known = {id(overlay) for overlay, _ in overlays}
        for overlay in self._overlays():
            if id(overlay) not in known:
                overlay.changes.clear()
        for overlay, changes in overlays:
            overlay.changes = changes
        del self.events[events:]
        del self.history[history:]

    def commit(self) -> None:
        """Make the changes everyone's."""
        for overlay in self._overlays():
            overlay.merge()

    def _overlays(self) -> list[Overlay[Any, Any]]:
        return [*self._rows.values(), self._uniques, self.remembered, self.sequences, self.marks]

    def _table(self, object_: str, tenant: str) -> Overlay[str, Record]:
        overlay = self._rows.get((object_, tenant))
        if overlay is None:
            base = self._tables.rows.setdefault((object_, tenant), {})
            overlay = self._rows[object_, tenant] = Overlay(base)
        return overlay


def _unique_keys(
    object_: ObjectDef, tenant: str, row: Record
) -> Iterator[tuple[tuple[Hashable, ...], tuple[str, ...]]]:
    """The unique values that `row` holds; none where one is null or the record is in the bin."""
    if row.get("deleted_at") is not None:
        return
    groups: list[tuple[str, ...]] = [(f.name,) for f in object_.stored_fields if f.unique]
    groups += [index.fields for index in object_.indexes if index.unique]
    for fields in groups:
        values = [row.get(name) for name in fields]
        if all(value is not None for value in values):
            held = tuple(
                to_json(value) if isinstance(value, list | dict) else value for value in values
            )
            yield (table_of(object_), fields, tenant, *held), fields
