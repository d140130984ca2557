"""Data operations over sockets: what the REST gateway answers to the same body, in a frame.

Nothing is decided here. Kernels ask for permissions, hooks and quotas, callers have the limits that
they have at every gateway, and what a frame does not say (a key, a token, a policy) has the
default that a header has.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from objectql.clock import Clock
from objectql.context import Actor, Context
from objectql.errors import InvalidQuery, InvalidRequest, ObjectQLError, Overloaded
from objectql.ids import uuid7
from objectql.query.ast import Query
from objectql.query.parse import parse_query
from objectql.service.bodies import decode_document, decode_json, decode_object, first_byte
from objectql.service.caller_rates import Rates
from objectql.service.data.answers import deleted_json, items_json, page_json
from objectql.service.data.batches import BatchBody, batch_json, transaction_json
from objectql.service.data.bulk import BulkBody, bulk_json, created_json, creations, read_rows
from objectql.service.data.facts import context_of
from objectql.service.data.limits import RequestLimits
from objectql.service.data.names import check_id, check_object
from objectql.service.data.queries import document_query
from objectql.service.data.row_errors import raise_first
from objectql.service.kernel import Kernel
from objectql.service.live.frames import NESTING, RequestFrame, response_frame
from objectql.service.recent_writes import RecentWrites
from objectql.wire.messages import (
    ActionRequest,
    AggregateRequest,
    BatchReply,
    BulkReply,
    BulkRequest,
    CreateRequest,
    DeleteReply,
    DeleteRequest,
    FindRequest,
    GetRequest,
    JsonReply,
    PageReply,
    RecordReply,
    UpdateRequest,
)
from objectql.wire.transactions import TransactionReply, TransactionRequest

_RETRY_MS: Final = 250


class Ask(NamedTuple):
    """A message for kernels, and what the reply to it is as JSON."""

    verb: str
    message: msgspec.Struct
    reply_type: type[Any]
    text: Callable[[Any], bytes]


class Requests:
    """Does what `request` frames ask for."""

    def __init__(
        self,
        kernel: Kernel,
        clock: Clock,
        limits: RequestLimits,
        rates: Rates,
        *,
        observe: Callable[[str, str, float], None],
    ) -> None:
        """`observe` is told of every answer: the operation, what came of it, and the seconds."""
        self._kernel = kernel
        self._clock = clock
        self._limits = limits
        self._rates = rates
        self._writes = RecentWrites()
        self._observe = observe
        self._in_flight = 0

    async def answer(self, said: RequestFrame, actor: Actor, origin: str) -> bytes:
        """The frame that answers `said`; it never raises for the caller's reasons."""
        started_s = self._clock.monotonic_s()
        outcome = "ok"
        self._in_flight += 1
        try:
            if self._in_flight > self._limits.in_flight:
                raise Overloaded(retry_after_ms=_RETRY_MS)
            await self._rates.spend(actor)
            return await self._do(said, actor, origin)
        except ObjectQLError as exc:
            outcome = str(exc.http)
            return response_frame(said.id, error=exc)
        finally:
            self._in_flight -= 1
            took_s = self._clock.monotonic_s() - started_s
            self._observe(said.operation, outcome, took_s)

    async def _do(self, said: RequestFrame, actor: Actor, origin: str) -> bytes:
        ask = ask_of(said, self._limits)
        context = self._context(said, actor, origin)
        if isinstance(ask.message, BulkRequest) and not ask.message.rows:
            return response_frame(said.id, ask.text(BulkReply(())))
        reply = await self._kernel.call(ask.verb, ask.message, context, ask.reply_type)
        token: str | None = getattr(reply, "consistency_token", None)
        if token is not None:
            known, now_s = context.consistency_token, self._clock.monotonic_s()
            token = self._writes.answered(actor.tenant, token, known, now_s)
        version = reply.version if isinstance(reply, RecordReply) else None
        return response_frame(said.id, ask.text(reply), version=version, token=token)

    def _context(self, said: RequestFrame, actor: Actor, origin: str) -> Context:
        return context_of(
            actor,
            request_id=uuid7(),
            clock=self._clock,
            patience=self._limits,
            writes=self._writes,
            timeout_ms=said.timeout_ms,
            key=said.idempotency_key,
            token=said.consistency_token,
            read_policy=said.read_policy,
            trace=said.trace,
            origin=origin,
        )


def ask_of(said: RequestFrame, limits: RequestLimits) -> Ask:
    """What `said` asks of a kernel.

    Raises:
        InvalidRequest, InvalidJson: it makes no sense, with the place in its body.
        ObjectUnknown, RecordNotFound: there can be none of such a name.
        Whatever is wrong with a query.

    """
    body = bytes(said.body)
    most = limits.bulk_records
    match said.operation:
        case "get":
            return Ask("get", _get(said, body), RecordReply, _record)
        case "query" | "aggregate":
            return _question(said, body, limits)
        case "create":
            if first_byte(body) == b"[":
                records = decode_json(body, list[msgspec.Raw], nesting=NESTING)
                created = creations(check_object(said.object), records, most=most)
                return Ask("bulk", created, BulkReply, _all_created(said.object))
            create = CreateRequest(check_object(said.object), _object_text(body))
            return Ask("create", create, RecordReply, _record)
        case "update" | "replace":
            update = UpdateRequest(
                check_object(said.object),
                _record_id(said),
                _object_text(body),
                replace=said.operation == "replace",
                if_version=said.if_version,
            )
            return Ask("update", update, RecordReply, _record)
        case "delete":
            delete = DeleteRequest(check_object(said.object), _record_id(said), said.if_version)
            return Ask("delete", delete, DeleteReply, _deleted)
        case "upsert":
            rows = read_rows([msgspec.Raw(_object_text(body))], "upsert")
            upsert = BulkRequest(
                check_object(said.object), "upsert", rows, atomic=True, match=said.match
            )
            return Ask("bulk", upsert, BulkReply, _upserted)
        case "bulk":
            bulk = decode_json(body, BulkBody, nesting=NESTING)
            return Ask("bulk", bulk.request(said.object, most=most), BulkReply, bulk_json)
        case "batch":
            batch = decode_json(body, BatchBody, nesting=NESTING)
            request = batch.request(most=most)
            return Ask("batch", request, BatchReply, partial(batch_json, batch))
        case "transaction":
            if said.record is None:
                raise InvalidRequest(reason='"record" is the id of the transaction that is meant')
            asked = TransactionRequest(said.record)
            return Ask("transaction", asked, TransactionReply, transaction_json)
        case "action":
            if said.action is None:
                raise InvalidRequest(reason='"action" names what is to be run')
            id = None if said.record is None else _record_id(said)
            action = ActionRequest(check_object(said.object), said.action, id, _object_text(body))
            return Ask("action", action, JsonReply, _finished)


def _get(said: RequestFrame, body: bytes) -> GetRequest:
    wanted = parse_query(decode_document(body, nesting=NESTING), object=check_object(said.object))
    if wanted != Query(object=wanted.object, fields=wanted.fields, expand=wanted.expand):
        raise InvalidQuery(reason="one record is read with fields and expand only")
    return GetRequest(said.object, _record_id(said), wanted.fields, wanted.expand)


def _question(said: RequestFrame, body: bytes, limits: RequestLimits) -> Ask:
    query = document_query(said.object, decode_document(body, nesting=NESTING), limits)
    if query.is_aggregate:
        text = items_json if said.operation == "aggregate" else page_json
        return Ask("aggregate", AggregateRequest(query), PageReply, text)
    if said.operation == "aggregate":
        raise InvalidQuery(reason="say what to compute", path="aggregations")
    return Ask("find", FindRequest(query), PageReply, page_json)


def _record_id(said: RequestFrame) -> str:
    if said.record is None:
        raise InvalidRequest(reason='"record" is the id of the record that is meant')
    return check_id(said.object, said.record)


def _object_text(body: bytes) -> bytes:
    """`body` as it came, known to be a JSON object."""
    decode_object(body, nesting=NESTING)
    return body


# --- replies -----------------------------------------------------------------------------------


def _record(reply: RecordReply) -> bytes:
    return reply.record


def _deleted(reply: DeleteReply) -> bytes:
    return deleted_json(reply.id)


def _finished(reply: JsonReply) -> bytes:
    return reply.body


def _all_created(object: str) -> Callable[[BulkReply], bytes]:
    def text(reply: BulkReply) -> bytes:
        raise_first(reply.results, object)
        return created_json(reply)

    return text


def _upserted(reply: BulkReply) -> bytes:
    """The record, as it is after it was created or changed."""
    (result,) = reply.results
    if result.error is not None:
        raise ObjectQLError.from_info(result.error)
    return result.record or b"{}"
