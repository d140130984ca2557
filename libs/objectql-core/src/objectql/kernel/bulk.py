"""The same operation on many records of one object.

Not atomic: rows are written in order, a chunk per transaction; the first failure ends the run
unless `continue_on_error`. Plain creations go to the driver a chunk at a time; when a chunk fails,
its rows are written one by one, so that each has its own result. Atomic: all or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from objectql.context import Context
from objectql.drivers.protocol import Driver, Remembered, RowWrite
from objectql.errors import (
    BatchTooLarge,
    InvalidRequest,
    ObjectQLError,
    RowNotAttempted,
    RowRolledBack,
    ValidationFailed,
    WriteConflict,
)
from objectql.kernel import failpoints
from objectql.kernel.batch import result_of
from objectql.kernel.change import (
    Change,
    Moment,
    change_of,
    idempotency_of,
    insert_of,
    write_scope,
)
from objectql.kernel.engine import Engine
from objectql.kernel.json import decode_object
from objectql.kernel.read import Reader, Scope
from objectql.kernel.unit import Unit
from objectql.kernel.upsert import upsert
from objectql.kernel.write import Writer, is_plain_write
from objectql.metadata.model import ObjectDef
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
        step = self._engine.settings.bulk_chunk_rows
        for start in range(0, len(request.rows), step):
            rows = request.rows[start : start + step]
            results += await self._chunk(request, rows, scope, object_, driver)
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
        idempotency = idempotency_of(context, "write_where", encode(request))
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
        idempotency = idempotency_of(scope.context, "bulk", encode(request))
        try:
            async with self._writer.unit(
                driver, scope, size=None if len(request.rows) > 1 else 1, is_bulk=True
            ) as unit:
                stored = await self._writer.remembered(unit, idempotency, scope.context)
                if stored is not None:
                    return decode(BulkReply, stored)
                results: list[RowResult] = []
                for row in request.rows:
                    try:
                        change = await _row(unit, request, row)
                    except WriteConflict:
                        raise
                    except ObjectQLError as exc:
                        undone = [ROLLED_BACK] * len(results)
                        failed = RowResult(id=row.id, error=exc.to_info())
                        raise _Undone(_completed([*undone, failed], len(request.rows))) from exc
                    results.append(result_of(change, with_record=request.return_records))
                reply = BulkReply(tuple(results))
                if idempotency is not None:
                    await unit.session.remember(idempotency, encode(reply))
                return reply
        except _Undone as signal:
            return signal.reply

    # --- rows on their own ---

    async def _once(self, request: BulkRequest, scope: Scope, driver: Driver) -> BulkReply:
        """A request with a key: one transaction holds its rows and its answer."""
        idempotency = idempotency_of(scope.context, "bulk", encode(request))
        async with self._writer.unit(driver, scope, is_bulk=True) as unit:
            stored = await self._writer.remembered(unit, idempotency, scope.context)
            if stored is not None:
                return decode(BulkReply, stored)
            results = await self._row_by_row(unit, request, request.rows)
            reply = _completed(results, len(request.rows))
            if idempotency is not None:
                await unit.session.remember(idempotency, encode(reply))
            return reply

    async def _chunk(
        self,
        request: BulkRequest,
        rows: Sequence[BulkRow],
        scope: Scope,
        object_: ObjectDef,
        driver: Driver,
    ) -> list[RowResult]:
        if request.operation == "create" and is_plain_write(self._engine, scope, object_, "create"):
            try:
                return await self._insert_chunk(request, rows, scope, object_, driver)
            except WriteConflict:
                raise
            except ObjectQLError:
                # Some row is wrong; one by one each gets its own result.
                pass
        async with self._writer.unit(driver, scope, is_bulk=True) as unit:
            return await self._row_by_row(unit, request, rows)

    async def _insert_chunk(
        self,
        request: BulkRequest,
        rows: Sequence[BulkRow],
        scope: Scope,
        object_: ObjectDef,
        driver: Driver,
    ) -> list[RowResult]:
        context = scope.context
        moment = Moment.of(context, self._engine.clock.now_ms())
        validator = scope.model.validator(object_)
        writes: list[RowWrite] = []
        for row in rows:
            checked = validator.check_create(_data(row), now=moment.now, actor=context.actor)
            if checked.issues:
                raise ValidationFailed(object=object_.name, issues=checked.issues)
            values = dict(checked.values)
            id_ = values.pop("id", None)
            writes.append(insert_of(object_, values, moment, None if id_ is None else str(id_)))
        failpoints.hit(failpoints.BEFORE_COMMIT)
        outcomes = await driver.write(
            writes, write_scope(context, size=len(writes)), deadline_ms=context.deadline_ms
        )
        failpoints.hit(failpoints.AFTER_COMMIT)
        assert not isinstance(outcomes, Remembered)  # no key was given
        return [
            result_of(change_of(write, outcome), with_record=request.return_records)
            for write, outcome in zip(writes, outcomes, strict=True)
        ]

    async def _row_by_row(
        self, unit: Unit, request: BulkRequest, rows: Sequence[BulkRow]
    ) -> list[RowResult]:
        results: list[RowResult] = []
        for row in rows:
            try:
                async with unit.session.savepoint():
                    change = await _row(unit, request, row)
            except WriteConflict:
                raise
            except ObjectQLError as exc:
                results.append(RowResult(id=row.id, error=exc.to_info()))
                if not request.continue_on_error:
                    break
            else:
                results.append(result_of(change, with_record=request.return_records))
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


def _data(row: BulkRow) -> dict[str, Any]:
    data = decode_object(row.data)
    return data if row.id is None else {**data, "id": row.id}


def _has_failed(results: Sequence[RowResult]) -> bool:
    return any(result.error is not None for result in results)


def _completed(results: Sequence[RowResult], count: int) -> BulkReply:
    """The reply, with `NOT_ATTEMPTED` for the rows that were not reached."""
    return BulkReply((*results, *(NOT_ATTEMPTED for _ in range(count - len(results)))))
