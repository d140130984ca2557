"""The statements that change records on Postgres, each doing everything in one round trip.

A statement is a chain of common table expressions: the rows come in as one JSON document
(`input`), the record is locked and read (`old`), written (`written`), and the outbox row, the
history row of a tracked object and the idempotency record are inserted from what was written. The
answer holds the images.

All parts of such a statement share one snapshot, but `old` waits for the row lock and then sees
the newest version of the row, and the write of a locked row goes to that version too. The outbox
row reads from `written`, hence its position is drawn under the row lock (see `system`).

Values travel as JSON because its one text serves a single row and thousands, whatever columns are
set, and encoding it is the cheapest thing Python can do with a record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from objectql.drivers.history import REDACTED, REDACTED_CHANGE
from objectql.drivers.protocol import Idempotency, RowWrite, WriteOutcome, WriteScope
from objectql.drivers.sql.fragment import identifier, string_literal
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

Form: TypeAlias = Literal["one", "remembered", "many", "group"]
"""`one` row, one row with its idempotency record, `many` rows of one request without, or a `group`
of rows that are requests of their own, each with its caller and, if it has a key, its record."""

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


_CALLER = {
    "_actor": "text",
    "_request": "text",
    "_trace": "text",
    "_origin": "text",
    "_principal": "text",
    "_key": "text",
    "_hash": "text",
}
"""What each row of a group carries beside its values; the last three where it has a key."""


def _input(columns: Mapping[str, str], form: Form) -> str:
    """The expressions up to `input`: the rows of the document that are to be done, by `_n`.

    What was remembered under a row's key is in `known`, and the row is not in `input` then.
    """
    types = ", ".join(f"{identifier(name)} {type_}" for name, type_ in columns.items())
    names = ", ".join(identifier(name) for name in columns)
    match form:
        case "one":
            rows = f"SELECT *, 1 AS _n FROM json_to_record($1::json) AS i ({types})"
            return f"input AS (\n    {rows})"
        case "remembered":
            rows = f"SELECT *, 1 AS _n FROM json_to_record($1::json) AS i ({types})"
            return f"{_KNOWN}input AS (\n    {rows} WHERE NOT EXISTS (SELECT FROM known))"
        case "many":
            rows = f"ROWS FROM (json_to_recordset($1::json) AS ({types})) WITH ORDINALITY"
            return f"input AS (\n    SELECT * FROM {rows} AS i ({names}, _n))"
        case "group":
            caller = ", ".join(f"{name} {type_}" for name, type_ in _CALLER.items())
            rows = f"ROWS FROM (json_to_recordset($1::json) AS ({types}, {caller})) WITH ORDINALITY"
            return f"""raw AS (
    SELECT * FROM {rows} AS i ({names}, {", ".join(_CALLER)}, _n)),
{_KNOWN_OF_GROUP}input AS (
    SELECT {names}, _n FROM raw i WHERE NOT EXISTS (SELECT FROM known k WHERE k._n = i._n))"""


def _insert_parts(object_: ObjectDef, form: Form, image: Image) -> str:
    types = {field.name: _INPUT_TYPES[field.storage] for field in object_.stored_fields}
    names = ", ".join(identifier(name) for name in types)
    columns = ", ".join(identifier(field.column_name) for field in object_.stored_fields)
    return f"""{_input({**types, "_event": "text", "_at": "text"}, form)},
written AS (
    INSERT INTO {identifier(table_name(object_))} AS r (tenant_id, {columns})
    SELECT $2, {names} FROM input ORDER BY _n
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
    columns = {name: identifier(object_.fields[name].column_name) for name in changed}
    target = {
        name: f"COALESCE(r.{columns[name]}, 0) + i.{identifier(name)}"
        if name in shape.increments
        else f"i.{identifier(name)}"
        for name in changed
    }
    if shape.kind == "update":
        differs = [
            f"r.{columns[name]} IS DISTINCT FROM {value}"
            for name, value in target.items()
            if name not in AUDIT_FIELDS
        ]
        sets = [f"{columns[name]} = {value}" for name, value in target.items()]
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
    # Nobody in a group waits for a lock: who would have to goes alone.
    lock = "ORDER BY r.id FOR UPDATE OF r SKIP LOCKED" if form == "group" else "FOR UPDATE OF r"
    return f"""{_input({**changed, **keys}, form)},
old AS (
    SELECT r.id, r.version, ({image(object_, "r")})::text AS image
    FROM {identifier(table_name(object_))} AS r JOIN input i ON r.id = i._id
    WHERE r.tenant_id = $2 {lock}),
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

_KNOWN_OF_GROUP = f"""known AS MATERIALIZED (
    SELECT i._n, k.body_hash, k.reply FROM raw i CROSS JOIN LATERAL (
        SELECT body_hash, reply FROM oql_idempotency
        WHERE tenant = $2 AND principal = i._principal AND key = i._key
        AND created_at > {POSTGRES_WORDS.now} - {POSTGRES_WORDS.day} LIMIT 1) k),
"""
"""The same for each row of a group; lateral and limited, so that it stays a look-up by the key."""

_REMEMBER = """,
remember AS (
    INSERT INTO oql_idempotency (tenant, principal, key, body_hash, reply)
    SELECT $2, $8, $9, $10::bytea, convert_to(COALESCE(after, before), 'UTF8')
    FROM answer WHERE is_done)"""
"""A key that another transaction stored meanwhile violates the primary key: all is undone."""

_COLUMNS = """a.old_version, convert_to(a.before, 'UTF8'), a.version, convert_to(a.after, 'UTF8')"""


_REMEMBER_GROUP = """,
remember AS (
    INSERT INTO oql_idempotency (tenant, principal, key, body_hash, reply)
    SELECT $2, r._principal, r._key, decode(r._hash, 'hex'),
    convert_to(COALESCE(a.after, a.before), 'UTF8')
    FROM answer a JOIN raw r ON r._n = a._n
    WHERE a.is_done AND r._key IS NOT NULL ORDER BY r._principal, r._key)"""


def write_text(shape: Shape, form: Form, image: Image) -> str:
    """The statement that does writes of `shape`.

    Parameters: the document of `document`, then `parameters`; of a group `group_document` and the
    tenant. One row per write, in order: the old version and image, the new ones; in forms
    `remembered` and `group` also the stored body hash and reply.
    """
    object_ = shape.object
    core = (
        _insert_parts(object_, form, image)
        if shape.kind == "insert"
        else _change_parts(shape, form, image)
    )
    request, source = "$3, $4, $5, $6, $7::integer", "answer a"
    origin = "$11" if form == "remembered" else "$8"
    remember, known, answer = "", "", "answer a ORDER BY a._n"
    if form == "remembered":
        remember, known = _REMEMBER, ", k.body_hash, k.reply"
        answer = "(VALUES (1)) AS one (x) LEFT JOIN answer a ON true LEFT JOIN known k ON true"
    elif form == "group":
        request, origin = "r._actor, r._request, r._trace, '', 1", "r._origin"
        source = "answer a JOIN raw r ON r._n = a._n"
        remember, known = _REMEMBER_GROUP, ", k.body_hash, k.reply"
        answer = (
            "raw r LEFT JOIN answer a ON a._n = r._n LEFT JOIN known k ON k._n = r._n ORDER BY r._n"
        )
    kind = string_literal(EVENT_KINDS[shape.kind])
    columns = """event_id, tenant, object, record_id, kind, version, at, actor,
    request_id, traceparent, batch, batch_size, before, after"""
    values = f"""a._event, $2, {string_literal(object_.name)}, a.id, {kind}, a.version,
    a._at, {request}"""
    rows = f"FROM {source} WHERE a.version IS NOT NULL ORDER BY a._n"
    history = ""
    if object_.enable.track_history:
        history = f""",
history AS (
    INSERT INTO oql_history ({columns}, origin)
    SELECT {values}, {_kept_images(object_)}, {origin} {rows})"""
    return f"""WITH {core},
outbox AS (
    INSERT INTO oql_outbox ({columns}) SELECT {values}, a.before, a.after {rows}){history}{remember}
SELECT {_COLUMNS}{known}
FROM {answer}"""


def _kept_images(object_: ObjectDef) -> str:
    """The images of `a` as the history keeps them; see `drivers.history.redacted`."""
    same, changed = string_literal(REDACTED), string_literal(REDACTED_CHANGE)
    old: list[str] = []
    new: list[str] = []
    for field in object_.readable_fields:
        if field.name not in object_.audit.redact:
            continue
        name = string_literal(field.name)
        is_changed = f"a.before::jsonb -> {name} <> a.after::jsonb -> {name}"
        old.append(f"{name}, {same}")
        new.append(f"{name}, CASE WHEN {is_changed} THEN {changed} ELSE {same} END")
    if not new:
        return "a.before, a.after"
    return f"""(a.before::jsonb || jsonb_build_object({", ".join(old)}))::text,
    (a.after::jsonb || jsonb_build_object({", ".join(new)}))::text"""


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


def group_document(
    requests: Iterable[tuple[RowWrite, WriteScope, Idempotency | None]],
) -> str:
    """The first parameter of a group: each row with its caller and its key."""
    rows: list[dict[str, object]] = []
    for write, scope, idempotency in requests:
        row = _row(write)
        row["_actor"] = scope.actor
        row["_request"] = scope.request_id
        row["_trace"] = scope.traceparent
        if write.object.enable.track_history:
            row["_origin"] = scope.origin
        if idempotency is not None:
            row["_principal"] = idempotency.principal
            row["_key"] = idempotency.key
            row["_hash"] = idempotency.body_hash.hex()
        rows.append(row)
    return _encode(rows).decode()


def parameters(
    object_: ObjectDef, scope: WriteScope, idempotency: Idempotency | None
) -> tuple[object, ...]:
    """The parameters after the document, of a statement that writes `object_`."""
    shared = (
        scope.tenant,
        scope.actor,
        scope.request_id,
        scope.traceparent,
        scope.batch,
        scope.batch_size,
    )
    identity: tuple[object, ...] = ()
    if idempotency is not None:
        identity = (idempotency.principal, idempotency.key, idempotency.body_hash)
    origin = (scope.origin,) if object_.enable.track_history else ()
    return (*shared, *identity, *origin)


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
