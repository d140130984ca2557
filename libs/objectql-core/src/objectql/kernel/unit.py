"""One transaction on one data source, and the whole write pipeline inside it.

create: permission → keys and defaults → before-hooks → field checks → object rules → autonumbers
→ insert with its event → after-hooks. update: the same around a locked record. delete: the records
that point here are deleted, emptied or in the way, as their fields say; then the record itself.
Every row goes through all of it, whoever asks: a request, a batch, a hook or a cascade.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, cast

import msgspec

from objectql.drivers.protocol import (
    Driver,
    RecordImage,
    RowWrite,
    Session,
    WriteOutcome,
    WriteScope,
)
from objectql.errors import (
    BatchTooLarge,
    HookRecursion,
    InvalidRequest,
    Issue,
    NotSupported,
    RecordNotFound,
    ValidationFailed,
    VersionConflict,
)
from objectql.kernel.access import RecordAccess, check_keys, gives_away, kept_fields, returned_masks
from objectql.kernel.api import DataApi
from objectql.kernel.autonumber import fill_autonumbers
from objectql.kernel.change import (
    Change,
    Moment,
    change_of,
    delete_of,
    insert_of,
    update_of,
)
from objectql.kernel.engine import Engine
from objectql.kernel.hook_calls import HookCalls
from objectql.kernel.json import decode_json
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.kernel.record_checks import (
    RecordChecks,
    merged_record,
    raise_issues,
    raise_unknown_keys,
)
from objectql.kernel.references import Link, Referrers
from objectql.kernel.result_cache.cache import Touched
from objectql.kernel.shares import check_shareable, with_share
from objectql.kernel.tenancy.quotas import RecordQuota
from objectql.metadata.model import SHARES, ObjectDef
from objectql.plugins.context import HookContext
from objectql.query.ast import Compare, Filter, Op, Query
from objectql.security.policy import FULL_ACCESS
from objectql.values import canonical_instant


class Unit:
    """The writes of one transaction. Made inside `driver.begin`, gone with it."""

    def __init__(
        self,
        engine: Engine,
        reader: Reader,
        scope: Scope,
        session: Session,
        driver: Driver,
        *,
        quota: RecordQuota,
        events: WriteScope,
        is_bulk: bool = False,
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._scope = scope._replace(session=session, driver=driver)
        self._trusted = self._scope._replace(policy=FULL_ACCESS)
        self.session = session
        self._driver = driver
        self._quota = quota
        self._events = events
        self._moment = Moment.of(scope.context, engine.clock.now_ms())
        self._deleting: set[tuple[str, str]] = set()
        self._affected = 0
        self.touched: set[Touched] = set()
        """The records that were written or locked, those that turned out as they were included."""
        self._checks = RecordChecks(reader, self._trusted, self._moment, is_bulk=is_bulk)
        self._access = RecordAccess(reader, self._scope)
        self._hooks = HookCalls(
            engine.hooks, self._scope, session, now=self._moment.now, make_api=self.api
        )

    def api(self, depth: int = 0) -> DataApi:
        """Data operations inside this transaction."""
        return DataApi(self._reader, self._scope, self, depth)

    @property
    def scope(self) -> Scope:
        """Reads inside this transaction."""
        return self._scope

    # --- the three writes ---

    async def create(self, object_name: str, data: Mapping[str, Any], *, depth: int = 0) -> Change:
        """Insert a record.

        Raises:
            ObjectUnknown, PermissionDenied, ValidationFailed, UniqueViolation, HookAborted,
            HookFailed

        """
        object_ = self._enter(object_name, depth)
        policy = self._scope.policy
        policy.check("create", object_name)
        given = dict(data)
        hidden = check_keys(policy, object_, "create", given)
        checked = self._checks.check_create(object_, given, hidden=hidden)
        ctx: HookContext | None = None
        if self._hooks.is_hooked(object_name, "Create"):
            raise_unknown_keys(object_, checked)
            started = {**checked.values, **given}
            ctx = self._hooks.context(object_, "create", depth)
            ctx.data = {k: v for k, v in started.items() if k not in checked.dropped}
            await self._hooks.run(object_name, "beforeCreate", ctx)
            checked = self._checks.check_create(object_, ctx.data, dropped=checked.dropped)
        raise_issues(object_, checked)
        values = dict(checked.values)
        id_ = cast("str | None", values.pop("id", None))
        is_unruled = policy.is_unruled(object_, "create")
        if not is_unruled:
            asked = {name: value for name, value in values.items() if name in data}
            await self._access.check_references(object_, asked, {})
        warnings = await self._checks.check_rules(object_, "create", {**values, "id": id_})
        write = insert_of(object_, values, self._moment, id_)
        if object_name in self._scope.model.numbered:
            numbered = await fill_autonumbers(
                object_, write.values, self.session, self._events.tenant, self._moment.now
            )
            write = insert_of(object_, numbered, self._moment, write.id)
        self._quota.take(self._scope.context, 1)
        change = await self._apply(write, checked.dropped, warnings)
        if not is_unruled:
            await self._access.check_image(object_, change.id, "create")
        return await self._hooks.finish(ctx, change, "Create")

    async def create_plain(
        self, object_: ObjectDef, records: Sequence[Mapping[str, Any]]
    ) -> list[Change]:
        """Insert records of an object without hooks, rules and autonumbers, in one statement.

        Raises:
            ValidationFailed, UniqueViolation, BatchTooLarge: some record is in the way.

        """
        self._scope.policy.check("create", object_.name)
        self._quota.take(self._scope.context, len(records))
        writes: list[RowWrite] = []
        dropped: list[tuple[str, ...]] = []
        for data in records:
            self._enter(object_.name, 0)
            hidden = check_keys(self._scope.policy, object_, "create", data)
            checked = self._checks.check_create(object_, data, hidden=hidden)
            raise_issues(object_, checked)
            values = dict(checked.values)
            id_ = cast("str | None", values.pop("id", None))
            writes.append(insert_of(object_, values, self._moment, id_))
            dropped.append(checked.dropped)
        outcomes = await self._write(writes)
        return [
            msgspec.structs.replace(change_of(write, outcome), dropped=names)
            for write, outcome, names in zip(writes, outcomes, dropped, strict=True)
        ]

    async def update(
        self,
        object_name: str,
        id_: str,
        data: Mapping[str, Any],
        *,
        depth: int = 0,
        replace: bool = False,
        if_version: int | None = None,
        if_updated_at: str | None = None,
        is_cascade: bool = False,
    ) -> Change:
        """Change a record; `replace` gives absent fields their default or null.

        Raises:
            RecordNotFound, VersionConflict, and whatever `create` raises.

        """
        object_ = self._enter(object_name, depth)
        policy = FULL_ACCESS if is_cascade else self._scope.policy
        policy.check("update", object_name)
        given = dict(data)
        hidden = check_keys(policy, object_, "update", given)
        is_unruled = policy.is_unruled(object_, "update")
        right = None if is_unruled else "update"
        previous = await self._lock(object_, id_, if_version, if_updated_at, right)
        returned = returned_masks(policy, object_, given, previous)
        given = {name: value for name, value in given.items() if name not in returned}
        if replace:
            kept = kept_fields(policy, object_) | returned
            given = self._checks.completed(object_, given, kept)
        by_system = frozenset(given) if is_cascade else frozenset[str]()
        checked = self._checks.check_update(
            object_, given, previous, trusted=by_system, hidden=hidden, dropped=tuple(returned)
        )
        ctx: HookContext | None = None
        if self._hooks.is_hooked(object_name, "Update"):
            raise_unknown_keys(object_, checked)
            ctx = self._hooks.context(object_, "update", depth, id_, previous)
            before = {k: v for k, v in given.items() if k not in checked.dropped}
            ctx.data = dict(before)
            await self._hooks.run(object_name, "beforeUpdate", ctx)
            set_by_hooks = {k for k, v in ctx.data.items() if k not in before or before[k] != v}
            checked = self._checks.check_update(
                object_,
                ctx.data,
                previous,
                dropped=checked.dropped,
                trusted=set_by_hooks | by_system,
            )
        raise_issues(object_, checked)
        if not is_unruled:
            asked = {name: value for name, value in checked.values.items() if name in data}
            await self._access.check_references(object_, asked, previous)
        is_given_away = gives_away(object_, given, checked.values, previous)
        is_given_away = is_given_away and not policy.is_unruled(object_, "transfer")
        if is_given_away:
            await self._access.check_target(object_, id_, "transfer")
        merged = merged_record(previous, checked)
        raise_issues(object_, self._checks.check_increments(object_, merged, checked))
        circles = await self._checks.check_trees(object_, id_, checked.values)
        raise_issues(object_, checked._replace(issues=circles))
        changed = {k for k, v in merged.items() if previous.get(k) != v}
        warnings = await self._checks.check_rules(object_, "update", merged, previous, changed)
        write = update_of(object_, id_, checked.values, checked.increments, self._moment)
        change = await self._apply(write, checked.dropped, warnings)
        if change.action == "unchanged":
            return change
        if is_given_away:
            await self._access.check_image(object_, id_, "transfer")
        elif not is_unruled:
            await self._access.check_image(object_, id_, "update")
        return await self._hooks.finish(ctx, change, "Update")

    async def delete(
        self,
        object_name: str,
        id_: str,
        *,
        depth: int = 0,
        if_version: int | None = None,
        if_updated_at: str | None = None,
        is_cascade: bool = False,
    ) -> Change:
        """Delete a record and settle what points to it.

        Raises:
            RecordNotFound, VersionConflict, DeleteRestricted, PermissionDenied, HookAborted,
            HookFailed, BatchTooLarge: too many records would be touched.

        """
        object_ = self._enter(object_name, depth)
        policy = FULL_ACCESS if is_cascade else self._scope.policy
        policy.check("delete", object_name)
        right = None if policy.is_unruled(object_, "delete") else "delete"
        previous = await self._lock(object_, id_, if_version, if_updated_at, right)
        ctx: HookContext | None = None
        if self._hooks.is_hooked(object_name, "Delete"):
            ctx = self._hooks.context(object_, "delete", depth, id_, previous)
            await self._hooks.run(object_name, "beforeDelete", ctx)
        warnings = await self._checks.check_rules(object_, "delete", previous, previous)
        self._deleting.add((object_name, id_))
        await self._release(object_, id_, depth)
        change = await self._apply(delete_of(object_, id_, self._moment), (), warnings)
        return await self._hooks.finish(ctx, change, "Delete")

    async def share(self, object_name: str, id_: str, principal: str, level: str | None) -> Change:
        """Share a record with `principal` by hand, or no more; who may give it away may do that.

        Neither hooks nor rules of the object are asked: nothing of the record changes.

        Raises:
            NotSupported: records of the object are not shared by hand.
            RecordNotFound, PermissionDenied, ValidationFailed

        """
        object_ = self._enter(object_name, 0)
        policy = self._scope.policy
        policy.check("update", object_name)
        check_shareable(object_)
        right = None if policy.is_unruled(object_, "update") else "update"
        previous = await self._lock(object_, id_, None, None, right)
        if not policy.is_unruled(object_, "transfer"):
            await self._access.check_target(object_, id_, "transfer", what="share")
        shares = with_share(object_, previous.get(SHARES) or [], principal, level)
        write = update_of(object_, id_, {SHARES: shares or None}, {}, self._moment)
        return await self._apply(write, (), ())

    async def find_ids(self, object_name: str, where: Filter | None, limit: int = 2) -> list[str]:
        """The ids of up to `limit` records that match and that the caller may see."""
        query = Query(object=object_name, fields=(("id",),), where=where, limit=limit)
        return [str(row["id"]) for row in await self._reader.rows(query, self._scope)]

    async def id_of_external(self, object_name: str, value: str) -> str:
        """The record with that external id.

        Raises:
            InvalidRequest: the object has no external id field.
            RecordNotFound: no record has it.

        """
        object_ = self._scope.model.object(object_name)
        field = next((f for f in object_.fields.values() if f.external_id), None)
        if field is None:
            raise InvalidRequest(reason=f"{object_name} has no external id field")
        found = await self.find_ids(object_name, Compare((field.name,), Op.EQ, value), 1)
        if not found:
            raise RecordNotFound(object=object_name, id=value)
        return found[0]

    async def lock(self, object_: ObjectDef, id_: str) -> None:
        """Keep others from changing a record before this transaction has ended.

        Raises:
            RecordNotFound: there is none, whoever may see it.

        """
        self.touch(object_.name, id_)
        if await self.session.lock(object_, self._events.tenant, id_) is None:
            raise RecordNotFound(object=object_.name, id=id_)

    def touch(self, object_name: str, id_: str) -> None:
        """Say that answers with this record may be out of date after the commit."""
        self.touched.add((object_name, id_))

    def is_deleted(self, object_name: str, id_: str) -> bool:
        """Whether this unit has deleted the record already, perhaps by a cascade."""
        return (object_name, id_) in self._deleting

    @asynccontextmanager
    async def savepoint(self) -> AsyncGenerator[None]:
        """A block whose failure undoes only the block, and what it left for the commit."""
        mark, deleting = self._hooks.mark(), set(self._deleting)
        try:
            async with self.session.savepoint():
                yield
        except BaseException:
            self._hooks.forget_since(mark)
            self._deleting = deleting
            raise

    async def run_after_commit(self) -> None:
        """Run the `afterCommit` hooks of what was written; their failures are only logged."""
        await self._hooks.run_after_commit()

    # --- steps ---

    def _enter(self, object_name: str, depth: int) -> ObjectDef:
        limit = self._engine.settings.max_nesting
        if depth > limit:
            raise HookRecursion(object=object_name, depth=depth)
        self._affected += 1
        maximum = self._engine.settings.max_affected_rows
        if self._affected > maximum:
            raise BatchTooLarge(count=self._affected, max=maximum)
        object_ = self._scope.model.object(object_name)
        if self._engine.driver(object_) is not self._driver:
            feature = f"writing {object_name} in a transaction of another data source"
            raise NotSupported(feature=feature)
        return object_

    async def _lock(
        self,
        object_: ObjectDef,
        id_: str,
        if_version: int | None,
        if_updated_at: str | None,
        right: Literal["update", "delete"] | None,
    ) -> dict[str, Any]:
        """The record as it is; the caller is known to have `right` on it, where one is named."""
        self.touch(object_.name, id_)
        image = await self.session.lock(object_, self._events.tenant, id_)
        if image is None:
            raise RecordNotFound(object=object_.name, id=id_)
        if right is not None:  # before the version: who may not see the record hears of none
            await self._access.check_target(object_, id_, right)
        previous = cast("dict[str, Any]", decode_json(image.json))
        check_version(object_, image, previous, if_version=if_version, if_updated_at=if_updated_at)
        return previous

    async def _apply(
        self, write: RowWrite, dropped: tuple[str, ...], warnings: tuple[str, ...]
    ) -> Change:
        (outcome,) = await self._write((write,))
        change = change_of(write, outcome)
        return Change(change.action, change.id, change.version, change.record, dropped, warnings)

    async def _release(self, object_: ObjectDef, id_: str, depth: int) -> None:
        """Settle the records that point to one that is about to be deleted."""
        referrers = Referrers(self._engine, self._reader, self._trusted, self._driver)
        for link in referrers.links(object_):
            ids = await referrers.ids(link, id_, self._engine.settings.max_affected_rows)
            circle = [i for i in ids if (link.object.name, i) in self._deleting]
            if circle and not link.is_list:
                await self._break_circle(link, circle)
            ids = [i for i in ids if i not in circle]
            if not ids:
                continue
            link.refuse_restricted(object_, id_)
            for child in ids:
                if (link.object.name, child) in self._deleting:
                    continue  # an earlier cascade has reached it
                if link.behavior == "cascade":
                    await self.delete(link.object.name, child, depth=depth, is_cascade=True)
                else:
                    emptied = await referrers.emptied(link, child, id_)
                    await self.update(
                        link.object.name, child, emptied, depth=depth, is_cascade=True
                    )

    async def _break_circle(self, link: Link, ids: list[str]) -> None:
        """Empty a field of records about to go themselves: none of a circle could go first."""
        writes = [
            update_of(link.object, id_, {link.field.name: None}, {}, self._moment) for id_ in ids
        ]
        await self._write(writes)

    async def _write(self, writes: Sequence[RowWrite]) -> tuple[WriteOutcome, ...]:
        """The one way of rows to the session."""
        for write in writes:
            self.touch(write.object.name, write.id)
        return await self.session.apply(writes, self._events)


def check_version(
    object_: ObjectDef,
    image: RecordImage,
    previous: Mapping[str, Any],
    *,
    if_version: int | None,
    if_updated_at: str | None,
) -> None:
    """Return when the stored record is the one that the caller has seen.

    Raises:
        VersionConflict: it is not.
        ValidationFailed: the instant is none.

    """
    is_current = if_version is None or if_version == image.version
    if if_updated_at is not None:
        try:
            is_current = is_current and canonical_instant(if_updated_at) == previous["updated_at"]
        except ValueError as exc:
            issue = Issue(path="if_updated_at", code="invalid_date", message=str(exc))
            raise ValidationFailed(object=object_.name, issues=(issue,)) from exc
    if not is_current:
        raise VersionConflict(
            object=object_.name, id=str(previous["id"]), current_version=image.version
        )
