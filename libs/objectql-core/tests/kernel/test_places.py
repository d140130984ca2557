"""Tenants with tables of their own, from their registration to their end, whatever fails between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from objectql.clock import SystemClock
from objectql.context import SYSTEM_ROLE, Actor, Context, system_actor
from objectql.drivers.chains import Chain
from objectql.drivers.memory import MemoryDriver
from objectql.drivers.protocol import Driver
from objectql.drivers.sql.sqlite import SqliteDriver, SqliteSettings
from objectql.drivers.tenants import Tenant
from objectql.errors import (
    DatabaseFailed,
    NotSupported,
    ObjectQLError,
    TenantHasRecords,
    TenantRefused,
    Unavailable,
)
from objectql.ids import TenantId, uuid7
from objectql.kernel.audit.sealer import Sealer
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.kernel.place_relays import PlaceRelays
from objectql.kernel.relay import Relay, RelayLimits
from objectql.kernel.schema_sync import sync_tables
from objectql.kernel.tenancy import admin as tenant_admin
from objectql.kernel.tenancy import places as tenant_places
from objectql.query.ast import Query
from objectql.values import instant_of_ms
from objectql.wire.messages import HistoryRequest
from objectql.wire.stream import Stored, StreamMessage
from objectql.wire.tenants import (
    TenantCreateRequest,
    TenantDeleteRequest,
    TenantExportRequest,
    TenantGetRequest,
)

ACME, GLOBEX, SHARING = TenantId("acme"), TenantId("Globex-2"), TenantId("sharing")
OPERATOR = Actor(id="op", roles=(SYSTEM_ROLE,))

APP: dict[str, Any] = {
    "name": "app",
    "objects": {
        "account": {
            "fields": {
                "name": {"type": "text", "required": True},
                "code": {"type": "text", "unique": True},
                "number": {"type": "autonumber", "format": "A-{0}"},
            },
            "enable": {"trackHistory": True},
        },
        "contact": {
            "fields": {
                "name": {"type": "text"},
                "account": {
                    "type": "lookup", "reference": "account", "deleteBehavior": "cascade",
                },
            }
        },
    },
}  # fmt: skip


@pytest.fixture
def settings() -> KernelSettings:
    return KernelSettings(unknown_tenants="refuse")


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.servers)])
def driver(request: pytest.FixtureRequest, bare_postgres: Callable[[], Driver]) -> Driver:
    return MemoryDriver() if request.param == "memory" else bare_postgres()


@pytest.fixture
async def kernel(
    driver: Driver, settings: KernelSettings, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Kernel]:
    monkeypatch.setattr(tenant_admin, "SETTLE_S", 0.0)
    monkeypatch.setattr(tenant_admin, "RETRY_S", 0.0)
    kernel = Kernel([driver, APP], settings=settings)
    await kernel.start()
    yield kernel
    await kernel.stop()


def by(actor: Actor, key: str | None = None) -> Context:
    return Context(actor, SystemClock().now_ms() + 30_000, "r1", idempotency_key=key)


def of(tenant: TenantId, key: str | None = None) -> Context:
    return by(Actor(id="u1", tenant=tenant, roles=("admin",)), key)


async def register(kernel: Kernel, id: TenantId, isolation: str = "schema") -> dict[str, Any]:
    document = json.dumps({"id": id, "isolation": isolation}).encode()
    reply = await kernel.tenancy.handle_create(TenantCreateRequest(document), by(OPERATOR))
    return json.loads(reply.body)


async def told_of(kernel: Kernel, id: TenantId) -> dict[str, Any]:
    return json.loads((await kernel.tenancy.handle_get(TenantGetRequest(id), by(OPERATOR))).body)


async def names(kernel: Kernel, tenant: TenantId, object: str = "account") -> list[str]:
    found = await kernel.find(object, {"order_by": "name"}, context=of(tenant))
    return [record["name"] for record in found.value]


async def test_tenants_of_every_kind_live_beside_each_other(kernel: Kernel) -> None:
    for tenant, isolation in ((ACME, "schema"), (GLOBEX, "schema"), (SHARING, "row")):
        told = await register(kernel, tenant, isolation)
        assert (told["isolation"], told["status"], told["problem"]) == (isolation, "active", None)
    made: dict[TenantId, dict[str, Any]] = {}
    for tenant in (ACME, GLOBEX, SHARING):
        key = {"context": of(tenant, "same-key")}
        made[tenant] = await kernel.create("account", {"name": tenant, "code": "one"}, **key)
        again = await kernel.create("account", {"name": tenant, "code": "one"}, **key)
        assert again == made[tenant]
        assert made[tenant]["number"] == "A-1"
    for tenant, account in made.items():
        context = of(tenant)
        await kernel.create("contact", {"name": "c", "account": account["id"]}, context=context)
        await kernel.update("account", account["id"], {"code": "two"}, context=context)
        assert await names(kernel, tenant) == [tenant]
        request = HistoryRequest("account", account["id"])
        entries = json.loads((await kernel.handle_history(request, context)).items)
        assert [entry["operation"] for entry in entries] == ["updated", "created"]
    for tenant, account in made.items():
        for other in set(made) - {tenant}:
            assert await kernel.get("account", account["id"], context=of(other)) is None
        await kernel.delete("account", account["id"], context=of(tenant))
        assert await names(kernel, tenant, "contact") == []


async def test_records_of_a_placed_tenant_are_in_no_shared_table(
    kernel: Kernel, driver: Driver
) -> None:
    await register(kernel, ACME)
    await kernel.create("account", {"name": "A"}, context=of(ACME))
    assert await driver.outbox.pending(10) == ()
    own = kernel.engine.placed[driver.name].of(ACME)
    [(_, event)] = await own.outbox.pending(10)
    assert event.tenant == ACME


async def test_publication_changes_the_tables_of_every_tenant(kernel: Kernel) -> None:
    await register(kernel, ACME)
    await kernel.create("account", {"name": "old"}, context=of(ACME))
    wider = json.loads(json.dumps(APP["objects"]["account"]))
    wider["fields"]["vip"] = {"type": "boolean"}
    await kernel.publisher.put("object", "account", wider)
    await kernel.publisher.put("object", "note", {"fields": {"name": {"type": "text"}}})
    await kernel.create("account", {"name": "new", "vip": True}, context=of(ACME))
    await kernel.create("note", {"name": "n"}, context=of(ACME))
    assert await names(kernel, ACME) == ["new", "old"]
    assert await names(kernel, ACME, "note") == ["n"]
    del wider["fields"]["vip"]
    await kernel.publisher.put("object", "account", wider, allow_destructive=True)
    wider["fields"]["vip"] = {"type": "boolean"}
    await kernel.publisher.put("object", "account", wider)
    found = await kernel.find("account", {"where": {"vip": True}}, context=of(ACME))
    assert found.value == []  # the old column went in the place too
    await kernel.publisher.delete("object", "note", allow_destructive=True)
    await kernel.publisher.put("object", "note", {"fields": {"name": {"type": "text"}}})
    assert await names(kernel, ACME, "note") == []


class Breaking:
    """Lets the tables of one tenant fail, wherever they are synced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kernel: Kernel, tenant: TenantId) -> None:
        self.is_broken = True
        sync = sync_tables

        async def sync_or_fail(driver: Driver, objects: Any) -> Any:
            if self.is_broken and driver is kernel.engine.placed[driver.name].of(tenant):
                raise DatabaseFailed
            return await sync(driver, objects)

        monkeypatch.setattr(tenant_places, "sync_tables", sync_or_fail)


async def test_tables_that_cannot_be_changed_block_their_tenant_alone_until_they_can(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tenant in (ACME, GLOBEX):
        await register(kernel, tenant)
    breaking = Breaking(monkeypatch, kernel, ACME)
    await kernel.publisher.put("object", "note", {"fields": {"name": {"type": "text"}}})
    with pytest.raises(Unavailable):
        await names(kernel, ACME)
    assert await names(kernel, GLOBEX, "note") == []
    told = await told_of(kernel, ACME)
    assert (told["status"], told["problem"][:15]) == ("blocked", "DATABASE_ERROR:")
    await kernel.tenancy.admin.finish_places()
    assert (await told_of(kernel, ACME))["status"] == "blocked"
    breaking.is_broken = False
    await kernel.tenancy.admin.finish_places()
    assert (await told_of(kernel, ACME))["status"] == "active"
    assert await names(kernel, ACME, "note") == []


async def test_registration_that_died_half_way_is_finished_by_another_kernel(
    driver: Driver, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, settings: KernelSettings
) -> None:
    breaking = Breaking(monkeypatch, kernel, ACME)
    assert (await register(kernel, ACME))["status"] == "blocked"
    breaking.is_broken = False
    other = Kernel([driver], settings=KernelSettings(node="other", unknown_tenants="refuse"))
    await other.publisher.converge()
    await other.tenants.converge()
    with pytest.raises(Unavailable):
        await other.tenants.admit(ACME)
    await other.tenancy.admin.finish_places()
    await other.tenants.admit(ACME)
    await kernel.tenants.converge()
    await kernel.create("account", {"name": "A"}, context=of(ACME))
    assert await names(kernel, ACME) == ["A"]
    await other.engine.placed[driver.name].end_places()


async def test_place_is_made_by_the_metadata_that_is_published_not_by_what_is_known(
    driver: Driver, kernel: Kernel
) -> None:
    other = Kernel([driver], settings=KernelSettings(node="other", unknown_tenants="refuse"))
    await other.publisher.converge()
    await other.tenants.converge()
    await kernel.publisher.put("object", "note", {"fields": {"name": {"type": "text"}}})
    await other.tenancy.admin.create(b'{"id":"acme","isolation":"schema"}', by(OPERATOR))
    await kernel.tenants.converge()
    assert await names(kernel, ACME, "note") == []
    await other.engine.placed[driver.name].end_places()


async def test_publications_and_registrations_at_once_leave_no_table_behind(kernel: Kernel) -> None:
    tenants = [TenantId(f"t{n}") for n in range(3)]
    documents = [(f"note{n}", {"fields": {"name": {"type": "text"}}}) for n in range(3)]
    await asyncio.gather(
        *(register(kernel, tenant) for tenant in tenants),
        *(kernel.publisher.put("object", name, content) for name, content in documents),
    )
    for tenant in tenants:
        for name, _ in documents:
            assert await names(kernel, tenant, name) == []


async def test_deleted_tenant_loses_its_place_and_a_new_one_is_empty(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register(kernel, ACME)
    await kernel.create("account", {"name": "A", "code": "one"}, context=of(ACME))
    exported = await kernel.tenancy.handle_export(
        TenantExportRequest(ACME, "account"), by(OPERATOR)
    )
    assert b'"name":"A"' in exported.lines
    await kernel.tenancy.handle_delete(TenantDeleteRequest(ACME, ACME), by(OPERATOR))
    with pytest.raises(TenantRefused):
        await names(kernel, ACME)
    system = msgspec.structs.replace(by(OPERATOR), actor=system_actor(ACME))
    with pytest.raises(ObjectQLError):  # nor does it fall back on the shared tables
        await kernel.reader.rows(Query("account"), kernel.reader.scope(system))
    monkeypatch.setattr(tenant_admin, "TOMBSTONE_S", 0.0)
    await kernel.tenancy.admin.finish_deletions()
    await register(kernel, ACME)
    await kernel.create("account", {"name": "B", "code": "one"}, context=of(ACME))
    assert await names(kernel, ACME) == ["B"]


async def test_places_are_refused_where_a_source_has_none(tmp_path: Path) -> None:
    sqlite = SqliteDriver(SqliteSettings(str(tmp_path / "kernel.db")))
    kernel = Kernel([sqlite], settings=KernelSettings(unknown_tenants="refuse"))
    await kernel.start()
    with pytest.raises(NotSupported):
        await register(kernel, ACME)
    await kernel.stop()


class TestUnknownTenantsAccepted:
    @pytest.fixture
    def settings(self) -> KernelSettings:
        return KernelSettings(unknown_tenants="accept")

    async def test_tenant_without_records_gets_a_place(self, kernel: Kernel) -> None:
        assert await names(kernel, ACME) == []
        assert (await register(kernel, ACME))["status"] == "active"
        await kernel.create("account", {"name": "A"}, context=of(ACME))
        assert await names(kernel, ACME) == ["A"]

    async def test_tenant_with_records_in_the_shared_tables_keeps_them_and_gets_no_place(
        self, kernel: Kernel
    ) -> None:
        await kernel.create("account", {"name": "early"}, context=of(ACME))
        with pytest.raises(TenantHasRecords):
            await register(kernel, ACME)
        assert await names(kernel, ACME) == ["early"]
        assert (await register(kernel, ACME, "row"))["status"] == "active"

    async def test_registration_undone_is_not_finished_by_another_kernel(
        self, driver: Driver, kernel: Kernel
    ) -> None:
        await kernel.create("account", {"name": "early"}, context=of(ACME))
        made = instant_of_ms(kernel.engine.clock.now_ms())
        half = Tenant(ACME, isolation="schema", pending=tenant_places.BEGUN, created_at=made)
        await driver.tenants.save(half)
        await kernel.tenants.converge()
        with pytest.raises(TenantHasRecords):
            await kernel.tenancy.admin.finish_places()
        assert await names(kernel, ACME) == ["early"]


class Stream:
    """What was published, by tenant."""

    def __init__(self) -> None:
        self.tenants: list[str] = []
        self.grew = asyncio.Event()

    async def publish(self, messages: list[StreamMessage]) -> Stored:
        self.tenants += [message.subject.split(".")[4] for message in messages]
        self.grew.set()
        return Stored("s", [1] * len(messages))

    async def holds(self, *tenants: str) -> None:
        async with asyncio.timeout(20):
            while sorted(self.tenants) != sorted(tenants):
                self.grew.clear()
                await self.grew.wait()


async def test_events_of_places_reach_the_stream_told_of_or_not(
    kernel: Kernel, driver: Driver
) -> None:
    for tenant in (ACME, GLOBEX):
        await register(kernel, tenant)
    stream = Stream()
    limits = RelayLimits(idle_s=0.05, lease_ttl_s=60.0)
    placed = kernel.engine.placed[driver.name]
    publish: Any = stream.publish
    relay = Relay("default", driver.outbox, driver.leases, publish, holder=uuid7(), limits=limits)
    sealer = Sealer("default", driver.chains, driver.leases, holder=uuid7())
    relays = PlaceRelays(
        relay,
        placed,
        lambda: kernel.tenants.ready_places,
        sealer,
        clock=kernel.engine.clock,
        limits=limits,
    )
    await kernel.create("account", {"name": "before"}, context=of(ACME))  # nobody is told
    running = [asyncio.create_task(relay.run()), asyncio.create_task(relays.run())]
    await stream.holds(ACME)
    await kernel.create("account", {"name": "told"}, context=of(GLOBEX))
    relays.nudge([GLOBEX])
    await stream.holds(ACME, GLOBEX)
    await kernel.create("account", {"name": "not told"}, context=of(GLOBEX))
    await stream.holds(ACME, GLOBEX, GLOBEX)
    async with asyncio.timeout(20):
        for tenant in (ACME, GLOBEX):
            while await placed.of(tenant).outbox.pending(1):
                await asyncio.sleep(0.01)
        for tenant in (ACME, GLOBEX):
            chain = Chain(tenant, "history", "account")
            while await placed.chains.count_unsealed(chain):
                await asyncio.sleep(0.01)
            assert await placed.chains.chains(tenant) == (chain,)
            assert (await placed.chains.head(chain)).sequence > 0
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
