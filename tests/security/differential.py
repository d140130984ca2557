"""Every door of the kernel against the judge: who sees which records and fields.

A case is one decision about one record (or group) at one door. Doors are list, export, filter, get, count
and group, search, expand in both directions, update alone and in a batch (its verdict and its
answer), another owner, history, explanations and the matching of events.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

import msgspec

from objectql.clock import SystemClock
from objectql.context import Actor, Context, system_actor
from objectql.drivers.protocol import Driver
from objectql.errors import FieldUnknown, ObjectQLError, PermissionDenied, RecordNotFound
from objectql.ids import TenantId
from objectql.kernel.kernel import Kernel
from objectql.query.parse import parse_query
from objectql.security.policy import Asker
from objectql.wire.messages import (
    BatchOperation,
    BatchRequest,
    BulkRequest,
    BulkRow,
    ExplainAccessRequest,
    ExportRequest,
    FindRequest,
    GetRequest,
    HistoryRequest,
    SearchRequest,
    ShareRequest,
    UpdateRequest,
)
from tests.security.judge import LOOKUPS, Judge, Row, User, masked
from tests.security.judge_sets import POSITIONS
from tests.security.random_permissions import NAMES, OBJECTS, SHARES, USERS, World, random_world

DEADLINE_MS = 600_000
TOUCHED = "touch"
_touches = itertools.count()
"""Each update writes another value: one that changes nothing is not asked what it leaves."""


class Difference(AssertionError):
    """A door decided otherwise than the judge."""


class Proof:
    """Runs worlds on one kernel; `cases` counts the decisions that agreed."""

    def __init__(self, driver: Driver) -> None:
        self._kernel = Kernel([driver, {"name": "proof", "objects": OBJECTS}])
        self.cases = 0

    async def start(self) -> None:
        await self._kernel.start()
        for name, sets in POSITIONS.items():
            for each in sets:
                await self._kernel.publisher.put("permission_set", each, {"objects": {}})
            await self._kernel.publisher.put("position", name, {"permission_sets": sets})

    async def stop(self) -> None:
        await self._kernel.stop()

    async def run(self, seed: int) -> None:
        """Compare every decision of the world that `seed` makes.

        Raises:
            Difference: told with the seed, the caller and the door.

        """
        rng = Random(seed)
        world = random_world(rng)
        tenant = TenantId(f"world{seed}")
        for name, file in world.files.items():
            await self._kernel.publisher.put("permission", name, file)
        for name, permission_set in world.sets.items():
            await self._kernel.publisher.put("permission_set", name, permission_set)
        await self._load(tenant, world)
        for user in world.users:
            comparison = _Comparison(self._kernel, world, user, tenant, rng)
            try:
                await comparison.run()
            except AssertionError as exc:
                raise Difference(
                    f"seed {seed}, {user}:\n{exc}\n{world.files}\n{world.sets}"
                ) from exc
            self.cases += comparison.cases

    async def _load(self, tenant: TenantId, world: World) -> None:
        context = _context(system_actor(tenant))
        for name in OBJECTS:
            rows = tuple(
                BulkRow(json.dumps({k: v for k, v in row.items() if k != SHARES}).encode())
                for row in world.rows[name].values()
            )
            reply = await self._kernel.handle_bulk(BulkRequest(name, "create", rows), context)
            assert not [r.error for r in reply.results if r.error], reply
            if any(
                share["type"] == "manual" for share in world.files[name].get("sharing_rules", ())
            ):
                await self._share(name, world.rows[name], context)

    async def _share(self, name: str, rows: Mapping[str, Row], context: Context) -> None:
        for id_, row in rows.items():
            for share in row[SHARES]:
                level, principal = share.split(":", 1)
                request = ShareRequest(name, id_, principal, level)
                await self._kernel.handle_share(request, context)


def _context(actor: Actor) -> Context:
    return Context(actor, SystemClock().now_ms() + DEADLINE_MS, "r1")


class _Comparison:
    """All doors for one caller."""

    def __init__(
        self, kernel: Kernel, world: World, user: User, tenant: TenantId, rng: Random
    ) -> None:
        self.cases = 0
        self._kernel = kernel
        self._world = world
        self._user = user
        self._rng = rng
        self._judge = Judge(world.files, world.sets, world.rows)
        actor = Actor(user.id, tenant, user.roles, dict(user.claims))
        self._tenant = tenant
        self._context = _context(actor)
        self._asker = Asker(actor, SystemClock().now_ms(), self._look_up)

    def _look_up(self, field: Any, target: Any, row: Mapping[str, Any]) -> dict[str, Any] | None:
        found = self._world.rows[target.name].get(str(row.get(field.name)))
        return None if found is None else dict(found)

    async def run(self) -> None:
        for name in OBJECTS:
            if not self._judge.reads(self._user, name):
                await self._refused(name)
                continue
            await self._listed(name)
            await self._exported(name)
            await self._filtered(name)
            await self._got(name)
            await self._grouped(name)
            await self._searched(name)
            await self._expanded(name)
            await self._remembered(name)
            await self._explained(name)
            await self._updated(name)
            await self._given_away(name)
            self._matched(name)

    # --- what is expected ---------------------------------------------------------------------

    def _visible(self, name: str) -> dict[str, Row]:
        if not self._judge.reads(self._user, name):
            return {}
        rows = self._world.rows[name]
        judge, user = self._judge, self._user
        return {i: row for i, row in rows.items() if judge.verdict(user, name, row) != "absent"}

    def _shown(self, name: str, row: Row) -> dict[str, Any]:
        """What is shown of the record, beside the field that updates change."""
        hidden = self._judge.hides(self._user, name) | {TOUCHED, SHARES}
        masks = self._judge.masks(self._user, name)
        return {
            key: masked(masks[key], value) if key in masks else value
            for key, value in row.items()
            if key not in hidden
        }

    def _unasked(self, name: str) -> set[str]:
        """The fields about which nothing can be asked."""
        return self._judge.hides(self._user, name) | self._judge.masks(self._user, name).keys()

    def _same(self, door: str, found: Any, expected: Any, cases: int = 1) -> None:
        self.cases += cases
        assert found == expected, f"{door}: found {found}\nexpected {expected}"

    async def _find(self, name: str, **query: Any) -> list[dict[str, Any]]:
        parsed = parse_query({"limit": 500, **query}, object=name)
        reply = await self._kernel.handle_find(FindRequest(parsed), self._context)
        return json.loads(reply.items)

    def _as_stored(self, name: str, rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """Records without system fields and the one that updates change, by id."""
        declared = {"id", *OBJECTS[name]["fields"]} - {TOUCHED}
        return {row["id"]: {k: v for k, v in row.items() if k in declared} for row in rows}

    # --- doors --------------------------------------------------------------------------------

    async def _refused(self, name: str) -> None:
        for row in self._world.rows[name].values():
            try:
                await self._kernel.handle_get(GetRequest(name, row["id"]), self._context)
            except PermissionDenied:
                self.cases += 1
            else:
                raise AssertionError(f"{name} was read without a grant")

    async def _listed(self, name: str) -> None:
        found = self._as_stored(name, await self._find(name))
        expected = {i: self._shown(name, row) for i, row in self._visible(name).items()}
        self._same(f"list {name}", found, expected, len(self._world.rows[name]))

    async def _exported(self, name: str) -> None:
        """In two pages, for those to whom it is granted."""
        rows: list[dict[str, Any]] = []
        query = parse_query({"limit": max(1, len(self._world.rows[name]) // 2)}, object=name)
        while True:
            try:
                reply = await self._kernel.handle_export(ExportRequest(query), self._context)
            except PermissionDenied:
                assert not self._judge.grants(self._user, name, "export"), f"{name}: no export"
                self.cases += 1
                return
            page: list[dict[str, Any]] = json.loads(reply.items)
            assert all(tuple(row) == reply.columns for row in page), reply.columns
            rows += page
            if reply.next is None:
                break
            query = msgspec.structs.replace(query, after=reply.next)
        assert self._judge.grants(self._user, name, "export"), f"{name} was exported"
        found = self._as_stored(name, rows)
        expected = {i: self._shown(name, row) for i, row in self._visible(name).items()}
        self._same(f"export {name}", found, expected, len(self._world.rows[name]))

    async def _filtered(self, name: str) -> None:
        """A caller's own condition brings in nothing more, and asks about no hidden field."""
        field, value = self._rng.choice((("owner", "u1"), ("region", "west"), ("level", 2)))
        where = {"$not": {field: value}} if self._rng.random() < 0.5 else {field: value}
        if field in self._unasked(name):
            try:
                await self._find(name, where=where)
            except FieldUnknown:
                self.cases += 1
                return
            raise AssertionError(f"{name}.{field} is hidden and was asked about")
        denied = "$not" in where
        expected = {i for i, row in self._visible(name).items() if (row[field] == value) != denied}
        found = {row["id"] for row in await self._find(name, where=where)}
        self._same(f"filter {name} {where}", found, expected, len(self._world.rows[name]))

    async def _got(self, name: str) -> None:
        visible = self._visible(name)
        for id_ in self._world.rows[name]:
            try:
                reply = await self._kernel.handle_get(GetRequest(name, id_), self._context)
                found = self._as_stored(name, [json.loads(reply.record)])[id_]
            except RecordNotFound:
                found = None
            row = visible.get(id_)
            expected = None if row is None else self._shown(name, row)
            self._same(f"get {name} {id_}", found, expected)

    async def _grouped(self, name: str) -> None:
        count = [{"function": "count"}]
        visible = self._visible(name).values()
        found = await self._find(name, aggregations=count)
        self._same(f"count {name}", found, [{"count": len(visible)}])
        if "region" in self._unasked(name):
            return
        groups = await self._find(name, groupBy=["region"], aggregations=count)
        counted = {group["region"]: group["count"] for group in groups}
        self._same(f"group {name}", counted, dict(Counter(r["region"] for r in visible)))

    async def _searched(self, name: str) -> None:
        text = self._rng.choice(NAMES)
        request = SearchRequest(text, objects=(name,), per_object=25)
        is_hidden = "name" in self._unasked(name)
        try:
            body = json.loads((await self._kernel.handle_search(request, self._context)).body)
        except ObjectQLError:
            assert is_hidden, f"{name} was not searched"
            self.cases += 1
            return
        found = {hit["id"] for hit in body["hits"]}
        expected = {
            i
            for i, row in self._visible(name).items()
            if not is_hidden and text.lower() in (row["name"] or "").lower()
        }
        if is_hidden:  # other text fields are searched then
            assert found <= set(self._visible(name)), f"search {name} found too much"
            self.cases += 1
        else:
            self._same(f"search {name}", found, expected, len(self._world.rows[name]))

    async def _expanded(self, name: str) -> None:
        (lookup, target), *_ = LOOKUPS[name].items()
        related = self._visible(target)
        for row in await self._find(name, expand={lookup: {}}):
            id_ = self._world.rows[name][row["id"]][lookup]
            other = related.get(id_)
            found = row[lookup]
            if found is not None:
                found = self._as_stored(target, [found])[found["id"]]
            expected = None if other is None else self._shown(target, other)
            self._same(f"expand {name}.{lookup}", found, expected)
        if name == "account":
            await self._listed_below()

    async def _listed_below(self) -> None:
        deals = self._visible("deal")
        for row in await self._find("account", expand={"deal": {"limit": 100}}):
            found = {deal["id"] for deal in row["deal"]}
            expected = {i for i, deal in deals.items() if deal["account"] == row["id"]}
            self._same("expand account.deal", found, expected)

    async def _updated(self, name: str) -> None:
        if not self._judge.grants(self._user, name, "update"):
            return
        for id_, row in self._world.rows[name].items():
            verdict = self._judge.verdict(self._user, name, row)
            data = json.dumps({TOUCHED: str(next(_touches))}).encode()
            try:
                record = await self._change(name, id_, data)
            except RecordNotFound:
                self._same(f"update {name} {id_}", "absent", verdict)
            except PermissionDenied:
                self._same(f"update {name} {id_}", "readable", verdict)
            else:
                self._same(f"update {name} {id_}", "changeable", verdict)
                found = self._as_stored(name, [json.loads(record)])[id_]
                self._same(f"answer {name} {id_}", found, self._shown(name, row))

    async def _given_away(self, name: str) -> None:
        """Another owner for what may be changed, which gets its own back afterwards."""
        judge, user = self._judge, self._user
        if not judge.grants(user, name, "update") or "owner" in self._unasked(name):
            return
        for id_, row in self._world.rows[name].items():
            owner = self._rng.choice(USERS)
            if owner == row["owner"] or judge.verdict(user, name, row) != "changeable":
                continue
            try:
                await self._change(name, id_, json.dumps({"owner": owner}).encode())
            except PermissionDenied:
                found = False
            else:
                found = True
                back = UpdateRequest(name, id_, json.dumps({"owner": row["owner"]}).encode())
                await self._kernel.handle_update(back, _context(system_actor(self._tenant)))
            expected = judge.gives_away(user, name, row, owner)
            self._same(f"give {name} {id_} to {owner}", found, expected)

    async def _change(self, name: str, id_: str, data: bytes) -> bytes:
        """The answer to a change, alone or in a batch."""
        if self._rng.random() < 0.5:
            reply = await self._kernel.handle_update(UpdateRequest(name, id_, data), self._context)
            return reply.record
        step = BatchOperation(name, "update", id=id_, data=data)
        batch = await self._kernel.handle_batch(BatchRequest((step,)), self._context)
        (result,) = batch.results
        assert result.record is not None
        return result.record

    async def _remembered(self, name: str) -> None:
        """The history of some records tells how they began, to those who may see them."""
        visible = self._visible(name)
        for id_ in self._rng.sample(sorted(self._world.rows[name]), 3):
            try:
                reply = await self._kernel.handle_history(HistoryRequest(name, id_), self._context)
            except RecordNotFound:
                self._same(f"history {name} {id_}", None, visible.get(id_))
                continue
            began = json.loads(reply.items)[-1]["changes"]
            shown = self._shown(name, visible[id_])
            expected = {k: v for k, v in shown.items() if v is not None and k != "id"}
            found = {k: change["new"] for k, change in began.items() if k != TOUCHED}
            self._same(f"history {name} {id_}", found, expected)

    async def _explained(self, name: str) -> None:
        """What administrators are told of the caller is what the caller meets."""
        asked = _context(Actor("root", self._context.tenant, ("admin",)))
        user = self._user
        for id_ in self._rng.sample(sorted(self._world.rows[name]), 3):
            request = ExplainAccessRequest(
                name, "read", id_, user.id, user.roles, dict(user.claims)
            )
            reply = await self._kernel.handle_explain_access(request, asked)
            allowed = json.loads(reply.body)["allowed"]
            self._same(f"explain {name} {id_}", allowed, id_ in self._visible(name))

    def _matched(self, name: str) -> None:
        model = self._kernel.engine.model
        policy, object_ = model.policy(self._context.actor), model.object(name)
        visible = self._visible(name)
        for id_, row in self._world.rows[name].items():
            is_seen = policy.matches(object_, dict(row), self._asker)
            self._same(f"match {name} {id_}", is_seen, id_ in visible)
            if is_seen:
                shown = policy.visible(object_, dict(row))
                shown = {k: v for k, v in shown.items() if k not in (TOUCHED, SHARES)}
                self._same(f"event {name} {id_}", shown, self._shown(name, row))


async def prove(driver: Driver, cases: int, first_seed: int = 0) -> int:
    """Run worlds until `cases` decisions agreed; the seed to go on from.

    Raises:
        Difference

    """
    proof = Proof(driver)
    await proof.start()
    try:
        seed = first_seed
        while proof.cases < cases:
            await proof.run(seed)
            seed += 1
            await asyncio.sleep(0)
        return seed
    finally:
        await proof.stop()
