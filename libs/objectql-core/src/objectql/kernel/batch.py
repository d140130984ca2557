"""Batches: an ordered list of operations on one data source, in one transaction.

A value `{"$ref": n}` is the id of operation n's record. A serialization failure starts the whole
batch anew while there is time. A batch that is not atomic runs each operation in a savepoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from objectql.context import Context
from objectql.errors import (
    BatchTooLarge,
    InvalidRequest,
    Issue,
    ObjectQLError,
    RecordNotFound,
    RowNotAttempted,
    WriteConflict,
)
from objectql.ids import uuid7
from objectql.kernel.access import shown
from objectql.kernel.change import Change, idempotency_of
from objectql.kernel.engine import Engine
from objectql.kernel.json import decode_object
from objectql.kernel.read import Reader
from objectql.kernel.unit import Unit
from objectql.kernel.upsert import upsert
from objectql.kernel.write import Writer, same_source
from objectql.wire.codec import decode, encode
from objectql.wire.messages import BatchOperation, BatchReply, BatchRequest, RowResult

_RETRY_WAIT_S = 0.01
_MAX_RETRIES = 8


class BatchRunner:
    """Runs batches."""

    def __init__(self, engine: Engine, reader: Reader, writer: Writer) -> None:
        self._engine = engine
        self._reader = reader
        self._writer = writer

    async def run(self, request: BatchRequest, context: Context) -> BatchReply:
        """The results in order; an atomic batch raises the first failure with its index.

        Raises:
            BatchTooLarge, InvalidRequest: before anything is done.
            NotSupported: the objects lie in several data sources.

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
                wait_s = _RETRY_WAIT_S * 2**attempt
                left_s = (context.deadline_ms - self._engine.clock.now_ms()) / 1000
                if attempt == _MAX_RETRIES or wait_s >= left_s:
                    raise
                await self._engine.clock.sleep(wait_s)
        raise AssertionError("unreachable")

    async def _attempt(self, request: BatchRequest, context: Context) -> BatchReply:
        scope = self._reader.scope(context)
        objects = [scope.model.object(operation.object) for operation in request.operations]
        driver = same_source(self._engine, objects)
        idempotency = idempotency_of(scope, "batch", encode(request))
        size = None if len(request.operations) > 1 else 1
        async with self._writer.unit(driver, scope, size=size, isolation=request.isolation) as unit:
            stored = await self._writer.remembered(unit, idempotency, context)
            if stored is not None:
                return decode(BatchReply, stored)
            results = await self._operations(unit, request)
            reply = BatchReply(tuple(results), uuid7(), "committed")
            if idempotency is not None:
                await unit.session.remember(idempotency, encode(reply))
            return reply

    async def _operations(self, unit: Unit, request: BatchRequest) -> list[RowResult]:
        results: list[RowResult] = []
        has_failed = False
        for index, operation in enumerate(request.operations):
            if has_failed:
                results.append(RowResult(error=RowNotAttempted().to_info()))
                continue
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
                policy, object_ = unit.scope.policy, unit.scope.model.object(operation.object)
                results.append(result_of(shown(change, policy, object_)))
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
