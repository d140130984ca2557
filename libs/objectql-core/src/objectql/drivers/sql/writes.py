"""The statements that change records on Postgres, each doing everything in one round trip.

A statement is a chain of common table expressions: the rows come in as one JSON document
(`input`), the record is locked and read (`old`), written (`written`), and the outbox row and the
idempotency record are inserted from what was written. The answer holds the images.

All parts of such a statement share one snapshot, but `old` waits for the row lock and then sees
the newest version of the row, and the write of a locked row goes to that version too. The outbox
row reads from `written`, hence its position is drawn under the row lock (see `system`).

Values travel as JSON because its one text serves a single row and thousands, whatever columns are
set, and encoding it is the cheapest thing Python can do with a record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from objectql.drivers.protocol import Idempotency, RowWrite, WriteOutcome, WriteScope
from objectql.drivers.sql.dialect import identifier, string_literal
from objectql.drivers.sql.scope import table_name
from objectql.drivers.sql.system import POSTGRES_WORDS
from objectql.ids import FieldName
from objectql.metadata.model import ObjectDef
from objectql.metadata.types import Storage

CHUNK_ROWS: Final = 500
"""Rows of one bulk statement: beyond a few hundred the round trip no longer counts, and the
document stays below a megabyte."""

AUDIT_FIELDS: Final = frozenset({"updated_at", "updated_by", "version"})
"""Fields that come with every update and do not make one."""

_INPUT_TYPES: dict[Storage, str] = {
    Storage.TEXT: "text",
    Storage.INTEGER: "bigint",
    Storage.FLOAT: "double precision",
    Storage.DECIMAL: "numeric",
    Storage.BOOLEAN: "boolean",
    Storage.DATE: "date",
    Storage.DATETIME: "timestamptz(3)",
    Storage.TIME: "time(3)",
    Storage.JSON: "jsonb",
    Storage.LIST: "jsonb",
}

Image: TypeAlias = Callable[[ObjectDef, str], str]
"""The SQL text of a record's image (JSON as text), given the object and the table's alias."""

Form: TypeAlias = Literal["one", "remembered", "many"]
"""`one` row, one row with its idempotency record, or `many` rows without."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


class Shape(NamedTuple):
    """What of a write decides its statement."""

    kind: Literal["insert", "update", "delete"]
    object: ObjectDef
    values: tuple[str, ...] = ()
    increments: tuple[str, ...] = ()


def shape_of(write: RowWrite) -> Shape:
    """The shape of `write`; inserts of an object all have the same."""
    if write.kind == "update":
        return Shape("update", write.object, tuple(write.values), tuple(write.increments))
    return Shape(write.kind, write.object)


def _input(columns: Mapping[str, str], form: Form) -> str:
    """The rows of the document, numbered by `_n`."""
    types = ", ".join(f"{identifier(name)} {type_}" for name, type_ in columns.items())
    names = ", ".join(identifier(name) for name in columns)
    if form == "many":
        rows = f"ROWS FROM (json_to_recordset($1::json) AS ({types})) WITH ORDINALITY"
        return f"SELECT * FROM {rows} AS i ({names}, _n)"
    rows = f"SELECT *, 1 AS _n FROM json_to_record($1::json) AS i ({types})"
    return f"{rows} WHERE NOT EXISTS (SELECT FROM known)" if form == "remembered" else rows


def _insert_parts(object_: ObjectDef, form: Form, image: Image) -> str:
    types = {field.name: _INPUT_TYPES[field.storage] for field in object_.stored_fields}
    columns = ", ".join(identifier(name) for name in types)
    return f"""input AS (
    {_input({**types, "_event": "text", "_at": "text"}, form)}),
written AS (
    INSERT INTO {identifier(table_name(object_))} AS r (tenant_id, {columns})
    SELECT $2, {columns} FROM input ORDER BY _n
    RETURNING r.id, r.version, ({image(object_, "r")})::text AS image),
answer AS (
    SELECT i._n, i._event, i._at, w.id, NULL::bigint AS old_version, NULL::text AS before,
    w.version, w.image AS after, true AS is_done
    FROM written w JOIN input i ON i.id = w.id)"""


def _change_parts(shape: Shape, form: Form, image: Image) -> str:
    object_ = shape.object
    changed = {
        field.name: _INPUT_TYPES[field.storage]
        for field in object_.stored_fields
        if field.name in shape.values or field.name in shape.increments
    }
    changed.pop(FieldName("version"), None)
    target = {
        name: f"COALESCE(r.{identifier(name)}, 0) + i.{identifier(name)}"
        if name in shape.increments
        else f"i.{identifier(name)}"
        for name in changed
    }
    if shape.kind == "update":
        differs = [
            f"r.{identifier(name)} IS DISTINCT FROM {value}"
            for name, value in target.items()
            if name not in AUDIT_FIELDS
        ]
        sets = [f"{identifier(name)} = {value}" for name, value in target.items()]
        verb = f"UPDATE {identifier(table_name(object_))} AS r SET {', '.join([*sets, 'version = r.version + 1'])} FROM"
        condition = f" AND ({' OR '.join(differs) or 'false'})"
        result = f"r.id, r.version, ({image(object_, 'r')})::text AS image"
        is_done = "o.id IS NOT NULL AND (i._expected IS NULL OR i._expected = o.version)"
    else:
        verb = f"DELETE FROM {identifier(table_name(object_))} AS r USING"
        condition = ""
        result = "r.id, r.version + 1 AS version, NULL::text AS image"
        is_done = "w.id IS NOT NULL"
    keys = {"_id": "text", "_event": "text", "_at": "text", "_expected": "bigint"}
    return f"""input AS (
    {_input({**changed, **keys}, form)}),
old AS (
    SELECT r.id, r.version, ({image(object_, "r")})::text AS image
    FROM {identifier(table_name(object_))} AS r JOIN input i ON r.id = i._id
    WHERE r.tenant_id = $2 FOR UPDATE OF r),
written AS (
    {verb} old o JOIN input i ON i._id = o.id
    WHERE r.tenant_id = $2 AND r.id = o.id
    AND (i._expected IS NULL OR r.version = i._expected){condition}
    RETURNING {result}),
answer AS (
    SELECT i._n, i._event, i._at, o.id, o.version AS old_version, o.image AS before,
    w.version, w.image AS after, {is_done} AS is_done
    FROM input i LEFT JOIN old o ON o.id = i._id LEFT JOIN written w ON w.id = i._id)"""


EVENT_KINDS = {"insert": "created", "update": "updated", "delete": "deleted"}

_KNOWN = f"""known AS MATERIALIZED (
    SELECT body_hash, reply FROM oql_idempotency
    WHERE tenant = $2 AND principal = $8 AND key = $9
    AND created_at > {POSTGRES_WORDS.now} - {POSTGRES_WORDS.day}),
"""
"""The answer stored under the key. Where there is one, `input` is empty: nothing happens."""

_REMEMBER = """,
remember AS (
    INSERT INTO oql_idempotency (tenant, principal, key, body_hash, reply)
    SELECT $2, $8, $9, $10::bytea, convert_to(COALESCE(after, before), 'UTF8')
    FROM answer WHERE is_done)"""
"""A key that another transaction stored meanwhile violates the primary key: all is undone."""

_COLUMNS = """a.old_version, convert_to(a.before, 'UTF8'), a.version, convert_to(a.after, 'UTF8')"""


def write_text(shape: Shape, form: Form, image: Image) -> str:
    """The statement that does writes of `shape`.

    Parameters: the document of `document`, then `parameters`. One row per write, in order: the
    old version and image, the new ones; in form `remembered` also the stored body hash and reply.
    """
    object_ = shape.object
    core = (
        _insert_parts(object_, form, image)
        if shape.kind == "insert"
        else _change_parts(shape, form, image)
    )
    is_single = form == "remembered"
    answer = (
        f"SELECT {_COLUMNS}, k.body_hash, k.reply\nFROM (VALUES (1)) AS one (x) "
        "LEFT JOIN answer a ON true LEFT JOIN known k ON true"
        if is_single
        else f"SELECT {_COLUMNS}\nFROM answer a ORDER BY a._n"
    )
    return f"""WITH {_KNOWN if is_single else ""}{core},
outbox AS (
    INSERT INTO oql_outbox (event_id, tenant, object, record_id, kind, version, at, actor,
    request_id, traceparent, batch, batch_size, before, after)
    SELECT _event, $2, {string_literal(object_.name)}, id, {string_literal(EVENT_KINDS[shape.kind])}, version,
    _at, $3, $4, $5, $6, $7::integer, before, after
    FROM answer WHERE version IS NOT NULL ORDER BY _n){_REMEMBER if is_single else ""}
{answer}"""


class WriteStatements:
    """The texts, made once per shape and form. `image` is the driver's record expression."""

    def __init__(self, image: Image, *, limit: int = 4096) -> None:
        self._image = image
        self._limit = limit
        self._texts: dict[tuple[object, ...], tuple[ObjectDef, str]] = {}

    def text(self, shape: Shape, form: Form) -> str:
        """The statement for writes of `shape`."""
        key = (shape.kind, id(shape.object), shape.values, shape.increments, form)
        known = self._texts.get(key)
        if known is not None:  # the object is kept with it, so its id is not used again
            return known[1]
        if len(self._texts) >= self._limit:
            self._texts.clear()
        text = write_text(shape, form, self._image)
        self._texts[key] = (shape.object, text)
        return text

    def lock_text(self, object_: ObjectDef) -> str:
        """The statement that locks a record (tenant, id) and answers its image and version."""
        key = ("lock", id(object_))
        known = self._texts.get(key)
        if known is not None:
            return known[1]
        text = f"""SELECT convert_to(({self._image(object_, "r")})::text, 'UTF8'), r.version
FROM {identifier(table_name(object_))} AS r WHERE r.tenant_id = $1 AND r.id = $2 FOR UPDATE"""
        self._texts[key] = (object_, text)
        return text


def _row(write: RowWrite) -> dict[str, object]:
    row: dict[str, object] = {**write.values, **write.increments}
    row["_event"] = write.event_id
    row["_at"] = write.at
    if write.kind != "insert":
        row["_id"] = write.id
        row["_expected"] = write.expected_version
    return row


def document(writes: Sequence[RowWrite], form: Form) -> str:
    """The first parameter: the rows as JSON."""
    rows = [_row(write) for write in writes]
    return _encode(rows if form == "many" else rows[0]).decode()


def parameters(scope: WriteScope, idempotency: Idempotency | None) -> tuple[object, ...]:
    """The parameters after the document."""
    shared = (
        scope.tenant,
        scope.actor,
        scope.request_id,
        scope.traceparent,
        scope.batch,
        scope.batch_size,
    )
    if idempotency is None:
        return shared
    return (*shared, idempotency.principal, idempotency.key, idempotency.body_hash)


def outcome_of(write: RowWrite, row: Sequence[Any]) -> WriteOutcome:
    """What became of `write`, from its row of the answer."""
    old_version, before, version, after = row[0], row[1], row[2], row[3]
    if version is not None:
        return WriteOutcome("written", version, before, after)
    if old_version is None:
        return WriteOutcome("missing")
    if write.expected_version is not None and write.expected_version != old_version:
        return WriteOutcome("stale", old_version, before)
    return WriteOutcome("unchanged", old_version, before, before)


def _is_same(one: Shape, other: Shape) -> bool:
    return one.object is other.object and (one.kind, one.values, one.increments) == (
        other.kind,
        other.values,
        other.increments,
    )


def runs(writes: Sequence[RowWrite]) -> Iterator[tuple[Shape, Sequence[RowWrite]]]:
    """`writes` cut into runs that one statement can do: same shape, no record twice, bounded."""
    start = 0
    while start < len(writes):
        shape = shape_of(writes[start])
        ids: set[str] = set()
        end = start
        while (
            end < len(writes)
            and end - start < CHUNK_ROWS
            and writes[end].id not in ids
            and (end == start or _is_same(shape, shape_of(writes[end])))
        ):
            ids.add(writes[end].id)
            end += 1
        yield shape, writes[start:end]
        start = end
