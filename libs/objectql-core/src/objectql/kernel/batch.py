"""Batches: an ordered list of operations in one transaction, over one data source or several.

A value `{"$ref": n}` is the id of operation n's record. A serialization failure starts the whole
batch anew while there is time. A batch that is not atomic runs each operation in a savepoint.

One kernel runs the operations in their order, each in the part of its source; over several sources
they are committed in two phases (`transactions.two_phase`). The record of the idempotency key lies in
the source of the first operation: it commits with the parts, and while that source's part is prepared,
whoever comes with the same key waits for it.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Literal, cast

import msgspec

from objectql.context import Context
from objectql.drivers.protocol import Driver, Idempotency
from objectql.drivers.transactions import Mark
from objectql.errors import (
    BatchTooLarge,
    InvalidRequest,
    Issue,
    ObjectQLError,
    OutcomeUnknown,
    RecordNotFound,
    RowNotAttempted,
    TooManySources,
    TransactionAborted,
    WriteConflict,
)
from objectql.ids import DataSource, uuid7
from objectql.kernel.access import shown
from objectql.kernel.change import Change, idempotency_of
from objectql.kernel.engine import Engine
from objectql.kernel.json import decode_object
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.kernel.transactions.parts import tables_of
from objectql.kernel.transactions.status import TransactionStatus
from objectql.kernel.transactions.two_phase import TwoPhase
from objectql.kernel.unit import Unit
from objectql.kernel.upsert import upsert
from objectql.kernel.write import Writer
from objectql.txn.names import PartName
from objectql.wire.codec import decode, encode
from objectql.wire.messages import BatchOperation, BatchReply, BatchRequest, RowResult

_RETRY_WAIT_S = 0.01
_MAX_RETRIES = 8
_LOCK_WAIT_S = 1.0
"""Two batches that wait for each other in different databases would do so until their deadlines."""


class BatchRunner:
    """Runs batches."""

    def __init__(
        self, engine: Engine, reader: Reader, writer: Writer, status: TransactionStatus
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._writer = writer
        self._status = status

    async def run(self, request: BatchRequest, context: Context) -> BatchReply:
        """The results in order; an atomic batch raises the first failure with its index.

        Raises:
            BatchTooLarge, InvalidRequest: before anything is done.
            SourceCannotPrepare, TransactionUnavailable, TooManySources: likewise, over several data
                sources.
            TransactionAborted: likewise given up; nothing was done.
            OutcomeUnknown: a request with the same key has not ended.

        """
        limit = self._engine.settings.max_batch_operations
        if len(request.operations) > limit:
            raise BatchTooLarge(count=len(request.operations), max=limit)
        if not request.operations:
            return BatchReply((), uuid7(), "committed")
        check_references(request.operations)
        for attempt in range(_MAX_RETRIES + 1):
            try:
                return await self._attempt(request, context)
            except WriteConflict:
                wait_s = _RETRY_WAIT_S * 2**attempt * (0.5 + random.random())  # noqa: S311
                left_s = (context.deadline_ms - self._engine.clock.now_ms()) / 1000
                if attempt == _MAX_RETRIES or wait_s >= left_s:
                    raise
                await self._engine.clock.sleep(wait_s)
        raise AssertionError("unreachable")

    async def _attempt(self, request: BatchRequest, context: Context) -> BatchReply:
        scope = self._reader.scope(context)
        objects = [scope.model.object(operation.object) for operation in request.operations]
        drivers = {object_.datasource: self._engine.driver(object_) for object_ in objects}
        if len(drivers) > 1:
            return await self._counted(self._in_several(drivers, request, scope))
        [(source, driver)] = drivers.items()
        idempotency = idempotency_of(scope, "batch", encode(request))
        size = None if len(request.operations) > 1 else 1
        async with self._writer.unit(driver, scope, size=size, isolation=request.isolation) as unit:
            stored = await self._writer.remembered(unit, idempotency, context)
            if stored is not None:
                return decode(BatchReply, stored)
            results = await self._operations({source: unit}, request)
            reply = BatchReply(tuple(results), uuid7(), "committed")
            if idempotency is not None:
                await unit.session.remember(idempotency, encode(reply))
            await unit.session.mark(Mark(reply.transaction_id, context.tenant, (source,)))
            return reply

    async def _counted(self, transaction: Awaitable[BatchReply]) -> BatchReply:
        counts = self._engine.transactions
        try:
            reply = await transaction
        except ObjectQLError as exc:
            counts[outcome_of_failure(exc)] += 1
            raise
        counts[reply.state] += 1
        return reply

    async def _in_several(
        self, drivers: Mapping[DataSource, Driver], request: BatchRequest, scope: Scope
    ) -> BatchReply:
        context, coordinator = scope.context, self._engine.coordinator
        settings = self._engine.settings
        if len(drivers) > settings.max_batch_sources:
            raise TooManySources(count=len(drivers), max=settings.max_batch_sources)
        stores = {
            source: tables_of(self._engine, source, context.tenant).transactions
            for source in drivers
        }
        for store in stores.values():
            await store.check_ready()
        epoch, id_ = coordinator.epoch(), uuid7()
        latest_ms = self._engine.clock.now_ms() + round(settings.max_transaction_s * 1000)
        deadline_ms = min(context.deadline_ms, latest_ms)
        names = {
            source: PartName(epoch, deadline_ms, coordinator.kernel, id_, context.tenant, source)
            for source in drivers
        }
        phases = TwoPhase(names, stores, coordinator, self._engine.clock)
        idempotency = idempotency_of(scope, "batch", encode(request))
        units: dict[DataSource, Unit] = {}
        try:
            async with AsyncExitStack() as stack:
                for source, driver in drivers.items():
                    unit = self._writer.begin(driver, scope, isolation=request.isolation)
                    units[source] = await stack.enter_async_context(unit)
                    wait_s = _LOCK_WAIT_S * (0.5 + random.random())  # noqa: S311
                    await units[source].session.expect_prepare(wait_s)
                home = units[next(iter(drivers))]
                stored = await self._remembered(home, idempotency, context)
                if stored is not None:
                    return stored
                results = await self._operations(units, request)
                reply = BatchReply(tuple(results), id_, "committed")
                if idempotency is not None:
                    await home.session.remember(idempotency, encode(reply))
                sources = tuple(drivers)
                for unit in units.values():
                    touched = tuple(sorted(unit.touched))
                    await unit.session.mark(Mark(id_, context.tenant, sources, touched))
                sessions = {source: unit.session for source, unit in units.items()}
                await phases.prepare(sessions)
        except ObjectQLError:
            if phases.is_begun:
                await phases.settle()
            raise
        try:
            state = await phases.settle()
        finally:
            touched = {record for unit in units.values() for record in unit.touched}
            await self._writer.forget(context, touched)
        if state == "aborted":
            raise TransactionAborted(
                id=id_, reason="another coordinator leads, or this kernel was not heard in time"
            )
        if state == "committed":
            for unit in units.values():
                await unit.run_after_commit()
        return msgspec.structs.replace(reply, state=state)

    async def _remembered(
        self, home: Unit, idempotency: Idempotency | None, context: Context
    ) -> BatchReply | None:
        """The answer to an earlier request with the same key, as it stands now."""
        try:
            stored = await self._writer.remembered(home, idempotency, context)
        except WriteConflict as exc:  # it is at it, or in doubt
            raise OutcomeUnknown from exc
        if stored is None:
            return None
        reply = decode(BatchReply, stored)
        standing = await self._status.of(reply.transaction_id, context.tenant)
        return msgspec.structs.replace(reply, state=standing.state)

    async def _operations(
        self, units: Mapping[DataSource, Unit], request: BatchRequest
    ) -> list[RowResult]:
        results: list[RowResult] = []
        has_failed = False
        for index, operation in enumerate(request.operations):
            if has_failed:
                results.append(RowResult(error=RowNotAttempted().to_info()))
                continue
            scope = next(iter(units.values())).scope
            object_ = scope.model.object(operation.object)
            unit = units[object_.datasource]
            try:
                if request.atomic:
                    change = await self._one(unit, operation, results)
                else:
                    async with unit.savepoint():
                        change = await self._one(unit, operation, results)
            except WriteConflict:
                raise
            except ObjectQLError as exc:
                if request.atomic:
                    raise at_operation(exc, index) from exc
                results.append(RowResult(error=exc.to_info()))
                has_failed = True
            else:
                found = shown(change, object_.name, scope.policy, scope.model, scope.context.actor)
                results.append(result_of(found))
        return results

    async def _one(
        self, unit: Unit, operation: BatchOperation, results: Sequence[RowResult]
    ) -> Change:
        data = cast("dict[str, Any]", resolve_references(decode_object(operation.data), results))
        id_ = resolve_references(operation.id, results)
        if operation.action == "create":
            if id_ is not None:
                data = {**data, "id": id_}
            return await unit.create(operation.object, data)
        if operation.action == "upsert":
            given = data if id_ is None else {**data, "id": id_}
            return await upsert(unit, operation.object, given)
        if not isinstance(id_, str):
            raise InvalidRequest(reason=f"{operation.action} needs the id of a record")
        if operation.action == "update":
            return await unit.update(operation.object, id_, data, if_version=operation.if_version)
        return await unit.delete(operation.object, id_, if_version=operation.if_version)


def outcome_of_failure(
    exc: ObjectQLError,
) -> Literal["given_up", "conflict", "unavailable", "refused"]:
    """How a transaction over several sources that failed is counted."""
    match exc:
        case TransactionAborted():
            return "given_up"
        case WriteConflict():
            return "conflict"
        case _:
            return "unavailable" if exc.retryable else "refused"


def result_of(change: Change, *, with_record: bool = True) -> RowResult:
    """The wire form of a change."""
    return RowResult(
        id=change.id,
        action=change.action,
        version=change.version,
        record=change.record if with_record else None,
    )


def at_operation(exc: ObjectQLError, index: int) -> ObjectQLError:
    """`exc` with issues that say which operation it was."""
    place = f"operations.{index}"
    issues = exc.issues or (Issue(path="", code=exc.code, message=exc.message),)
    exc.issues = tuple(
        msgspec.structs.replace(i, path=f"{place}.{i.path}" if i.path else place) for i in issues
    )
    return exc


def check_references(operations: Sequence[BatchOperation]) -> None:
    """Return when every `$ref` names an earlier operation.

    Raises:
        InvalidRequest: with an issue for each that does not.

    """
    issues: list[Issue] = []
    for index, operation in enumerate(operations):
        values = {"id": operation.id, "data": decode_object(operation.data)}
        for path, reference in _references(values, f"operations.{index}"):
            is_earlier = type(reference) is int and 0 <= reference < index
            if not is_earlier:
                message = f"$ref {reference!r} is not the number of an earlier operation"
                issues.append(Issue(path=path, code="invalid_reference", message=message))
    if issues:
        raise InvalidRequest(reason=issues[0].message, issues=tuple(issues))


def _references(value: Any, path: str) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        members = cast("Mapping[str, Any]", value)
        if "$ref" in members and len(members) == 1:
            return [(path, members["$ref"])]
        return [found for k, v in members.items() for found in _references(v, f"{path}.{k}")]
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [found for n, v in enumerate(items) for found in _references(v, f"{path}.{n}")]
    return []


def resolve_references(value: Any, results: Sequence[RowResult]) -> Any:
    """`value` with each `{"$ref": n}` replaced by the id of result n.

    Raises:
        RecordNotFound: that operation wrote nothing.

    """
    if isinstance(value, Mapping):
        members = cast("Mapping[str, Any]", value)
        if "$ref" in members and len(members) == 1:
            id_: str | None = results[int(members["$ref"])].id
            if id_ is None:
                raise RecordNotFound(object="operation", id=str(members["$ref"]))
            return id_
        resolved: dict[str, Any] = {
            key: resolve_references(item, results) for key, item in members.items()
        }
        return resolved
    if isinstance(value, list):
        return [resolve_references(item, results) for item in cast("list[Any]", value)]
    return value
