"""Writes of single records: in one round trip where nothing else must happen, else in a `Unit`.

The direct way is open when the object has no hooks, no rules for the operation, no autonumbers and,
for a deletion, nothing that could point to it. Both ways answer alike.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from objectql import failpoints
from objectql.context import Context
from objectql.drivers.protocol import (
    Driver,
    Idempotency,
    Isolation,
    Remembered,
    RowWrite,
)
from objectql.errors import (
    InvalidRequest,
    UniqueViolation,
    ValidationFailed,
    WriteConflict,
)
from objectql.kernel.access import check_keys
from objectql.kernel.change import (
    Change,
    ChangeAction,
    Moment,
    change_of,
    delete_of,
    idempotency_of,
    insert_of,
    remembered_change,
    remembered_reply,
    update_of,
    write_scope,
)
from objectql.kernel.engine import Engine
from objectql.kernel.json import decode_object
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.kernel.result_cache.cache import Touched
from objectql.kernel.tenancy.quotas import RecordQuota
from objectql.kernel.unit import Unit
from objectql.metadata.model import ObjectDef
from objectql.security.documents import owner_field
from objectql.security.rules import Right
from objectql.wire.messages import CreateRequest, DeleteRequest, UpdateRequest


class Writer:
    """Creates, updates and deletes single records."""

    def __init__(self, engine: Engine, reader: Reader, quota: RecordQuota) -> None:
        self._engine = engine
        self._reader = reader
        self._quota = quota

    async def create(self, request: CreateRequest, context: Context) -> Change:
        """Insert a record; see `Unit.create`."""
        scope = self._reader.scope(context)
        object_ = scope.model.object(request.object)
        scope.policy.check("create", request.object)
        data = decode_object(request.data)
        idempotency = idempotency_of(scope, "create", request.object, data)
        # Whoever repeats a request hears its outcome, also when there is no room any more.
        may_be_full = idempotency is not None and self._quota.binds(context)
        if not may_be_full and self._is_direct(scope, object_, "create"):
            moment = Moment.of(context, self._engine.clock.now_ms())
            hidden = check_keys(scope.policy, object_, "create", data)
            checked = scope.model.validator(object_).check_create(
                data, now=moment.now, actor=context.actor, hidden=hidden
            )
            if checked.issues:
                raise ValidationFailed(object=object_.name, issues=checked.issues)
            values = dict(checked.values)
            id_ = values.pop("id", None)
            write = insert_of(object_, values, moment, None if id_ is None else str(id_))
            await self._quota.ready(context)
            self._quota.take(context, 1)
            return await self._write(object_, write, context, idempotency, checked.dropped)
        return await self.in_unit(
            object_,
            scope,
            idempotency,
            "created",
            lambda unit: unit.create(request.object, data),
        )

    async def update(self, request: UpdateRequest, context: Context) -> Change:
        """Change a record; see `Unit.update`."""
        scope = self._reader.scope(context)
        object_ = scope.model.object(request.object)
        scope.policy.check("update", request.object)
        data = decode_object(request.data)
        conditions = (request.replace, request.if_version, request.if_updated_at)
        idempotency = idempotency_of(scope, "update", request.object, request.id, data, *conditions)
        self._check_version_given(object_, request.if_version, request.if_updated_at)
        is_plain = not request.replace and request.if_updated_at is None
        is_plain = is_plain and not has_increments(data)
        is_plain = is_plain and not self._may_give_away(scope, object_, data)
        # What a mask shows of the record decides what is given: it must be looked at first.
        is_plain = is_plain and scope.policy.masks(object_).keys().isdisjoint(data)
        if is_plain and self._is_direct(scope, object_, "update"):
            moment = Moment.of(context, self._engine.clock.now_ms())
            hidden = check_keys(scope.policy, object_, "update", data)
            checked = scope.model.validator(object_).check_update(data, hidden=hidden)
            if checked.issues:
                raise ValidationFailed(object=object_.name, issues=checked.issues)
            write = update_of(
                object_,
                request.id,
                checked.values,
                checked.increments,
                moment,
                expected_version=request.if_version,
            )
            return await self._write(object_, write, context, idempotency, checked.dropped)
        return await self.in_unit(
            object_,
            scope,
            idempotency,
            "updated",
            lambda unit: unit.update(
                request.object,
                request.id,
                data,
                replace=request.replace,
                if_version=request.if_version,
                if_updated_at=request.if_updated_at,
            ),
        )

    async def delete(self, request: DeleteRequest, context: Context) -> Change:
        """Delete a record; see `Unit.delete`."""
        scope = self._reader.scope(context)
        object_ = scope.model.object(request.object)
        scope.policy.check("delete", request.object)
        conditions = (request.if_version, request.if_updated_at)
        idempotency = idempotency_of(scope, "delete", request.object, request.id, *conditions)
        self._check_version_given(object_, request.if_version, request.if_updated_at)
        is_plain = request.if_updated_at is None
        is_free = not scope.model.snapshot.inverse_lookups(object_.name)
        if is_plain and is_free and self._is_direct(scope, object_, "delete"):
            moment = Moment.of(context, self._engine.clock.now_ms())
            write = delete_of(object_, request.id, moment, request.if_version)
            return await self._write(object_, write, context, idempotency, ())
        return await self.in_unit(
            object_,
            scope,
            idempotency,
            "deleted",
            lambda unit: unit.delete(
                request.object,
                request.id,
                if_version=request.if_version,
                if_updated_at=request.if_updated_at,
            ),
        )

    # --- the two ways ---

    async def _write(
        self,
        object_: ObjectDef,
        write: RowWrite,
        context: Context,
        idempotency: Idempotency | None,
        dropped: tuple[str, ...],
    ) -> Change:
        driver = self._engine.driver(object_)
        failpoints.hit(failpoints.BEFORE_COMMIT)
        touched = ((object_.name, write.id),)
        try:
            answer = await driver.write(
                (write,),
                write_scope(context),
                idempotency=idempotency,
                deadline_ms=context.deadline_ms,
            )
        except _NOTHING_WRITTEN:
            raise
        except BaseException:
            await self.forget(context, touched)  # it may have been committed all the same
            raise
        failpoints.hit(failpoints.AFTER_COMMIT)
        # Also when nothing was changed now: the answer tells of a write of somebody else, who may
        # not have come to this line yet.
        await self.forget(context, touched)
        if isinstance(answer, Remembered):
            assert idempotency is not None  # only a request with a key is remembered
            change = remembered_change(answer, idempotency, _ACTIONS[write.kind])
        else:
            change = change_of(write, answer[0])
        if not dropped:
            return change
        return Change(change.action, change.id, change.version, change.record, dropped)

    async def in_unit(
        self,
        object_: ObjectDef,
        scope: Scope,
        idempotency: Idempotency | None,
        action: ChangeAction,
        work: Callable[[Unit], Awaitable[Change]],
    ) -> Change:
        """Run `work` in a transaction of the object's data source, once per idempotency key."""
        driver = self._engine.driver(object_)
        async with self.unit(driver, scope, size=None) as unit:
            if idempotency is not None:
                found = await unit.session.recall(idempotency)
                if found is not None:
                    change = remembered_change(found, idempotency, action)
                    unit.touch(object_.name, change.id)  # whoever wrote it may have died since
                    return change
                # Taking the key now makes a second request with it wait for this one.
                await unit.session.apply((), write_scope(scope.context), idempotency)
            change = await work(unit)
            if idempotency is not None:
                await unit.session.remember(idempotency, change.record)
            return change

    @asynccontextmanager
    async def unit(
        self,
        driver: Driver,
        scope: Scope,
        *,
        size: int | None = None,
        isolation: Isolation = "read_committed",
        is_bulk: bool = False,
    ) -> AsyncGenerator[Unit, None]:
        """A unit of work that commits when the block ends; then `afterCommit` hooks run."""
        context = scope.context
        touched: set[Touched] = set()  # of a unit that ended well, whatever becomes of its commit
        try:
            async with self.begin(
                driver, scope, size=size, isolation=isolation, is_bulk=is_bulk
            ) as unit:
                yield unit
                failpoints.hit(failpoints.BEFORE_COMMIT)
                touched = unit.touched
            failpoints.hit(failpoints.AFTER_COMMIT)
        finally:
            await self.forget(context, touched)
        await unit.run_after_commit()

    @asynccontextmanager
    async def begin(
        self,
        driver: Driver,
        scope: Scope,
        *,
        size: int | None = None,
        isolation: Isolation = "read_committed",
        is_bulk: bool = False,
    ) -> AsyncGenerator[Unit, None]:
        """`unit` without what follows the commit, for who has more to commit than this."""
        context = scope.context
        await self._quota.ready(context)
        async with driver.begin(
            isolation=isolation, deadline_ms=context.deadline_ms, tenant=context.tenant
        ) as session:
            yield Unit(
                self._engine,
                self._reader,
                scope,
                session,
                driver,
                quota=self._quota,
                events=write_scope(context, size=size),
                is_bulk=is_bulk,
            )

    async def forget(self, context: Context, touched: Iterable[Touched]) -> None:
        """Return when no later read can be answered from before the commit."""
        cache = self._engine.cache
        if cache is not None:
            await cache.written(context.tenant, touched)

    async def remembered(
        self, unit: Unit, idempotency: Idempotency | None, context: Context
    ) -> bytes | None:
        """The reply stored under the key, or None after reserving the key for this unit."""
        if idempotency is None:
            return None
        found = await unit.session.recall(idempotency)
        if found is not None:
            return remembered_reply(found, idempotency)
        await unit.session.apply((), write_scope(context), idempotency)
        return None

    def _is_direct(self, scope: Scope, object_: ObjectDef, operation: Right) -> bool:
        return self._engine.settings.features.direct_writes and is_plain_write(
            self._engine, scope, object_, operation
        )

    def _may_give_away(self, scope: Scope, object_: ObjectDef, data: Mapping[str, Any]) -> bool:
        """Whether the owner is named who the record gets, and not everybody may do that."""
        owner = owner_field(object_)
        return owner in data and not scope.policy.is_unruled(object_, "transfer")

    def _check_version_given(
        self, object_: ObjectDef, if_version: int | None, if_updated_at: str | None
    ) -> None:
        if object_.require_version and if_version is None and if_updated_at is None:
            reason = f"{object_.name} is changed only with the version that was read"
            raise InvalidRequest(reason=reason)


_NOTHING_WRITTEN = (UniqueViolation, ValidationFailed, WriteConflict)
"""What a driver raises only when the write has had no effect."""

_ACTIONS: Mapping[str, ChangeAction] = {
    "insert": "created",
    "update": "updated",
    "delete": "deleted",
}


def has_increments(data: Mapping[str, Any]) -> bool:
    """Whether a value is `{"$inc": n}`: then the outcome is checked under the record's lock."""
    return any(isinstance(value, dict) and "$inc" in value for value in data.values())


def is_plain_write(engine: Engine, scope: Scope, object_: ObjectDef, operation: Right) -> bool:
    """Whether writing needs neither hooks nor rules nor numbers: only checks and the rows."""
    point = operation.capitalize()
    pipeline = engine.hooks.pipeline
    if (
        pipeline(object_.name, f"before{point}") is not None
        or pipeline(object_.name, f"after{point}") is not None
        or pipeline(object_.name, "afterCommit") is not None
        or scope.model.rules(object_).applies_to(operation)
        or not scope.policy.is_unruled(object_, operation)
    ):
        return False
    if operation == "update" and object_.name in scope.model.trees:
        return False
    return operation != "create" or object_.name not in scope.model.numbered


class OwnTransactions:
    """Writes of an action that has no transaction: each request commits by itself."""

    def __init__(self, writer: Writer, scope: Scope) -> None:
        self._writer = writer
        self._scope = scope

    async def create(self, object_name: str, data: Mapping[str, Any], *, depth: int = 0) -> Change:
        """See `Unit.create`."""
        return await self._run(object_name, lambda u: u.create(object_name, data, depth=depth))

    async def update(
        self, object_name: str, id_: str, data: Mapping[str, Any], *, depth: int = 0
    ) -> Change:
        """See `Unit.update`."""
        return await self._run(object_name, lambda u: u.update(object_name, id_, data, depth=depth))

    async def delete(self, object_name: str, id_: str, *, depth: int = 0) -> Change:
        """See `Unit.delete`."""
        return await self._run(object_name, lambda u: u.delete(object_name, id_, depth=depth))

    async def _run(self, object_name: str, work: Callable[[Unit], Awaitable[Change]]) -> Change:
        object_ = self._scope.model.object(object_name)
        return await self._writer.in_unit(object_, self._scope, None, "updated", work)
