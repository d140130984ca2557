"""The same operation on many records of one object.

Not atomic: rows are written in order, a chunk per transaction; the first failure ends the run
unless `continue_on_error`. Plain creations go to the driver a chunk at a time; when a chunk fails,
its rows are written one by one, so that each has its own result. Atomic: all or nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from objectql.context import Context
from objectql.drivers.protocol import Driver
from objectql.errors import (
    BatchTooLarge,
    InvalidRequest,
    ObjectQLError,
    RowNotAttempted,
    RowRolledBack,
    WriteConflict,
)
from objectql.kernel.access import shown
from objectql.kernel.batch import result_of
from objectql.kernel.change import (
    Change,
    idempotency_of,
)
from objectql.kernel.engine import Engine
from objectql.kernel.json import decode_object
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.kernel.unit import Unit
from objectql.kernel.upsert import upsert
from objectql.kernel.write import Writer, is_plain_write
from objectql.wire.codec import decode, encode
from objectql.wire.messages import (
    BulkReply,
    BulkRequest,
    BulkRow,
    CountReply,
    RowResult,
    WhereWriteRequest,
)

NOT_ATTEMPTED = RowResult(error=RowNotAttempted().to_info())
ROLLED_BACK = RowResult(error=RowRolledBack().to_info())


class _Undone(Exception):  # noqa: N818 - a signal inside this module
    """Leaves an atomic transaction that is to be rolled back, with the reply."""

    def __init__(self, reply: BulkReply) -> None:
        super().__init__()
        self.reply = reply


class BulkRunner:
    """Runs bulk requests."""

    def __init__(self, engine: Engine, reader: Reader, writer: Writer) -> None:
        self._engine = engine
        self._reader = reader
        self._writer = writer

    async def run(self, request: BulkRequest, context: Context) -> BulkReply:
        """One result per row, in order.

        Raises:
            BatchTooLarge, ObjectUnknown, PermissionDenied: before anything is done.

        """
        limit = self._engine.settings.max_bulk_rows
        if len(request.rows) > limit:
            raise BatchTooLarge(count=len(request.rows), max=limit)
        scope = self._reader.scope(context)
        object_ = scope.model.object(request.object)
        if request.operation == "upsert":
            scope.policy.check("create", request.object)
            scope.policy.check("update", request.object)
        else:
            scope.policy.check(request.operation, request.object)
        if not request.rows:
            return BulkReply(())
        driver = self._engine.driver(object_)
        if request.atomic:
            return await self._atomic(request, scope, driver)
        if context.idempotency_key is not None:
            return await self._once(request, scope, driver)
        results: list[RowResult] = []
        for rows in self._chunks(request):
            results += await self._chunk(request, rows, scope, driver)
            if _has_failed(results) and not request.continue_on_error:
                break
        return _completed(results, len(request.rows))

    async def write_where(self, request: WhereWriteRequest, context: Context) -> CountReply:
        """Change or delete every record that matches, in one transaction; how many.

        Raises:
            BatchTooLarge: more match than one transaction may touch.

        """
        scope = self._reader.scope(context)
        object_ = scope.model.object(request.object)
        scope.policy.check(request.operation, request.object)
        data = decode_object(request.data)
        limit = self._engine.settings.max_affected_rows
        idempotency = idempotency_of(scope, "write_where", encode(request))
        async with self._writer.unit(self._engine.driver(object_), scope, is_bulk=True) as unit:
            stored = await self._writer.remembered(unit, idempotency, context)
            if stored is not None:
                return decode(CountReply, stored)
            ids = await unit.find_ids(request.object, request.where, limit + 1)
            if len(ids) > limit:
                raise BatchTooLarge(count=len(ids), max=limit)
            for id_ in ids:
                if request.operation == "update":
                    await unit.update(request.object, id_, data)
                elif not unit.is_deleted(request.object, id_):
                    await unit.delete(request.object, id_)
            reply = CountReply(len(ids))
            if idempotency is not None:
                await unit.session.remember(idempotency, encode(reply))
            return reply

    # --- one transaction for all ---

    async def _atomic(self, request: BulkRequest, scope: Scope, driver: Driver) -> BulkReply:
        idempotency = idempotency_of(scope, "bulk", encode(request))
        try:
            async with self._writer.unit(
                driver, scope, size=None if len(request.rows) > 1 else 1, is_bulk=True
            ) as unit:
                stored = await self._writer.remembered(unit, idempotency, scope.context)
                if stored is not None:
                    return decode(BulkReply, stored)
                results: list[RowResult] = []
                for rows in self._chunks(request):
                    results += await self._all_or_raise(unit, request, rows, len(results))
                reply = BulkReply(tuple(results))
                if idempotency is not None:
                    await unit.session.remember(idempotency, encode(reply))
                return reply
        except _Undone as signal:
            return signal.reply

    async def _all_or_raise(
        self, unit: Unit, request: BulkRequest, rows: Sequence[BulkRow], before: int
    ) -> list[RowResult]:
        """The results of rows that must all succeed; `before` counts those that have."""
        together = await self._create_together(unit, request, rows)
        if together is not None:
            return together
        results: list[RowResult] = []
        for row in rows:
            try:
                change = await _row(unit, request, row)
            except WriteConflict:
                raise
            except ObjectQLError as exc:
                undone = [ROLLED_BACK] * (before + len(results))
                failed = RowResult(id=row.id, error=exc.to_info())
                raise _Undone(_completed([*undone, failed], len(request.rows))) from exc
            results.append(_result(unit, request, change))
        return results

    def _chunks(self, request: BulkRequest) -> Iterator[Sequence[BulkRow]]:
        step = self._engine.settings.bulk_chunk_rows
        for start in range(0, len(request.rows), step):
            yield request.rows[start : start + step]

    # --- rows on their own ---

    async def _once(self, request: BulkRequest, scope: Scope, driver: Driver) -> BulkReply:
        """A request with a key: one transaction holds its rows and its answer."""
        idempotency = idempotency_of(scope, "bulk", encode(request))
        async with self._writer.unit(driver, scope, is_bulk=True) as unit:
            stored = await self._writer.remembered(unit, idempotency, scope.context)
            if stored is not None:
                return decode(BulkReply, stored)
            results: list[RowResult] = []
            for rows in self._chunks(request):
                results += await self._rows(unit, request, rows)
                if _has_failed(results) and not request.continue_on_error:
                    break
            reply = _completed(results, len(request.rows))
            if idempotency is not None:
                await unit.session.remember(idempotency, encode(reply))
            return reply

    async def _chunk(
        self, request: BulkRequest, rows: Sequence[BulkRow], scope: Scope, driver: Driver
    ) -> list[RowResult]:
        async with self._writer.unit(driver, scope, is_bulk=True) as unit:
            return await self._rows(unit, request, rows)

    async def _rows(
        self, unit: Unit, request: BulkRequest, rows: Sequence[BulkRow]
    ) -> list[RowResult]:
        """The results of rows that stand on their own: together if they can, else one by one."""
        together = await self._create_together(unit, request, rows)
        return await self._row_by_row(unit, request, rows) if together is None else together

    async def _create_together(
        self, unit: Unit, request: BulkRequest, rows: Sequence[BulkRow]
    ) -> list[RowResult] | None:
        """The results of plain creations in one statement; None where some row is in the way."""
        object_ = unit.scope.model.object(request.object)
        if request.operation != "create" or not is_plain_write(
            self._engine, unit.scope, object_, "create"
        ):
            return None
        try:
            async with unit.savepoint():
                changes = await unit.create_plain(object_, [_data(row) for row in rows])
        except WriteConflict:
            raise
        except ObjectQLError:
            return None
        return [_result(unit, request, change) for change in changes]

    async def _row_by_row(
        self, unit: Unit, request: BulkRequest, rows: Sequence[BulkRow]
    ) -> list[RowResult]:
        results: list[RowResult] = []
        for row in rows:
            try:
                async with unit.savepoint():
                    change = await _row(unit, request, row)
            except WriteConflict:
                raise
            except ObjectQLError as exc:
                results.append(RowResult(id=row.id, error=exc.to_info()))
                if not request.continue_on_error:
                    break
            else:
                results.append(_result(unit, request, change))
        return results


async def _row(unit: Unit, request: BulkRequest, row: BulkRow) -> Change:
    name = request.object
    if request.operation == "create":
        return await unit.create(name, _data(row))
    if request.operation == "upsert":
        return await upsert(unit, name, _data(row), match=request.match, if_version=row.if_version)
    id_ = row.id
    if id_ is None and row.external_id is not None:
        id_ = await unit.id_of_external(name, row.external_id)
    if id_ is None:
        raise InvalidRequest(reason=f"{request.operation} needs the id of each record")
    if request.operation == "update":
        return await unit.update(name, id_, decode_object(row.data), if_version=row.if_version)
    return await unit.delete(name, id_, if_version=row.if_version)


def _result(unit: Unit, request: BulkRequest, change: Change) -> RowResult:
    if not request.return_records:
        return result_of(change, with_record=False)
    scope = unit.scope
    name = scope.model.object(request.object).name
    return result_of(shown(change, name, scope.policy, scope.model, scope.context.actor))


def _data(row: BulkRow) -> dict[str, Any]:
    data = decode_object(row.data)
    return data if row.id is None else {**data, "id": row.id}


def _has_failed(results: Sequence[RowResult]) -> bool:
    return any(result.error is not None for result in results)


def _completed(results: Sequence[RowResult], count: int) -> BulkReply:
    """The reply, with `NOT_ATTEMPTED` for the rows that were not reached."""
    return BulkReply((*results, *(NOT_ATTEMPTED for _ in range(count - len(results)))))
