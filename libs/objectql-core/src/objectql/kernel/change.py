"""What writing one record comes to, and how it is turned into rows for a driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Literal, TypeAlias, cast

import msgspec

from objectql.context import Actor, Context
from objectql.drivers.protocol import Idempotency, Remembered, RowWrite, WriteOutcome, WriteScope
from objectql.errors import (
    DeadlineExceeded,
    IdempotencyMismatch,
    Issue,
    RecordNotFound,
    ValidationFailed,
    VersionConflict,
)
from objectql.ids import is_record_id, uuid7
from objectql.kernel.json import decode_json
from objectql.kernel.planning import Scope
from objectql.metadata.model import ObjectDef
from objectql.query.tokens import is_token, user_fact
from objectql.values import Value, instant_of_ms

ChangeAction: TypeAlias = Literal["created", "updated", "unchanged", "deleted"]


class Change(msgspec.Struct, frozen=True):
    """One record written. `record` is its image as JSON (for a deletion, the last one)."""

    action: ChangeAction
    id: str
    version: int
    record: bytes
    dropped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Moment(msgspec.Struct, frozen=True):
    """When and by whom: what stamps records and events of one request."""

    now_ms: int
    now: str
    actor: Actor

    @staticmethod
    def of(context: Context, now_ms: int) -> Moment:
        """The moment of a request."""
        return Moment(now_ms, instant_of_ms(now_ms), context.actor)


def insert_of(
    object_: ObjectDef, values: Mapping[str, Value], moment: Moment, id_: str | None = None
) -> RowWrite:
    """The insertion of a record with checked `values`; system fields are stamped here.

    Raises:
        ValidationFailed: the id that the caller gave cannot be one.

    """
    record_id = id_ if id_ is not None else uuid7()
    # A token such as `@me` would mean another record wherever ids are compared.
    if not is_record_id(record_id) or is_token(record_id):
        message = "an id has 1 to 255 printable characters and is no token"
        issue = Issue(path="id", code="invalid_format", message=message)
        raise ValidationFailed(object=object_.name, issues=(issue,))
    row = {name: value for name, value in values.items() if value is not None}
    row["id"] = record_id
    row["created_at"] = row["updated_at"] = moment.now
    row["created_by"] = row["updated_by"] = moment.actor.id
    row["version"] = 1
    return RowWrite("insert", object_, record_id, uuid7(), moment.now, row)


def update_of(
    object_: ObjectDef,
    id_: str,
    values: Mapping[str, Value],
    increments: Mapping[str, Value],
    moment: Moment,
    *,
    expected_version: int | None = None,
) -> RowWrite:
    """The change of a record's checked `values` and `increments`."""
    row = {**values, "updated_at": moment.now, "updated_by": moment.actor.id}
    return RowWrite("update", object_, id_, uuid7(), moment.now, row, increments, expected_version)


def delete_of(
    object_: ObjectDef, id_: str, moment: Moment, expected_version: int | None = None
) -> RowWrite:
    """The deletion of a record."""
    return RowWrite("delete", object_, id_, uuid7(), moment.now, expected_version=expected_version)


def change_of(write: RowWrite, outcome: WriteOutcome) -> Change:
    """What the driver's answer means.

    Raises:
        RecordNotFound: there is no such record.
        VersionConflict: it has another version than expected.

    """
    match outcome.status:
        case "missing":
            raise RecordNotFound(object=write.object.name, id=write.id)
        case "stale":
            raise VersionConflict(
                object=write.object.name, id=write.id, current_version=outcome.version or None
            )
        case "unchanged":
            return Change("unchanged", write.id, outcome.version, outcome.after or b"{}")
        case _ if write.kind == "delete":
            return Change("deleted", write.id, outcome.version, outcome.before or b"{}")
        case _:
            action: ChangeAction = "created" if write.kind == "insert" else "updated"
            return Change(action, write.id, outcome.version, outcome.after or b"{}")


def remembered_change(
    remembered: Remembered, idempotency: Idempotency, action: ChangeAction
) -> Change:
    """The change that an earlier request with the same key made.

    Raises:
        IdempotencyMismatch: that was another request.

    """
    reply = remembered_reply(remembered, idempotency)
    record = decode_json(reply)
    return Change(action, str(record.get("id", "")), int(record.get("version") or 0), reply)


def remembered_reply(remembered: Remembered, idempotency: Idempotency) -> bytes:
    """The stored reply of an earlier request with the same key and body.

    Raises:
        IdempotencyMismatch: the body was another.

    """
    if remembered.body_hash != idempotency.body_hash:
        raise IdempotencyMismatch(key=idempotency.key)
    return remembered.reply


_canonical = msgspec.json.Encoder(order="deterministic", decimal_format="number")


def idempotency_of(scope: Scope, verb: str, *parts: Any) -> Idempotency | None:
    """The identity of a request with a key; `parts` are all that distinguishes its body.

    A stored answer holds what the caller might see then, and is given back unasked. So the caller's
    permissions are part of what a key stands for: under others it is another request.
    """
    context = scope.context
    if context.idempotency_key is None:
        return None
    actor, policy = context.actor, scope.policy
    facts = [_unordered(user_fact(actor, name)) for name in policy.facts()]
    body = (verb, policy.shape, facts, *parts)
    digest = blake2b(_canonical.encode(body), digest_size=16).digest()
    return Idempotency(context.tenant, actor.id, context.idempotency_key, digest)


def _unordered(fact: Any) -> Any:
    """`fact`, alike for lists of the same members: a fresh token may name them in another order."""
    if isinstance(fact, list | tuple):
        return sorted(repr(member) for member in cast("Sequence[Any]", fact))
    return fact


def write_scope(context: Context, *, size: int | None = 1) -> WriteScope:
    """What the events of one request share. `size` None: not known before the commit."""
    is_batch = size is None or size > 1
    return WriteScope(
        tenant=context.tenant,
        actor=context.actor.id,
        request_id=context.request_id,
        traceparent=context.trace.get("traceparent", ""),
        batch=uuid7() if is_batch else "",
        batch_size=0 if size is None else size,
        origin=context.origin,
    )


def check_deadline(context: Context, now_ms: int) -> None:
    """Return while there is time left.

    Raises:
        DeadlineExceeded: there is none.

    """
    if context.deadline_ms <= now_ms:
        raise DeadlineExceeded
