"""Tenants with tables of their own, from their registration to their end, whatever fails between."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from objectql.context import system_actor
from objectql.drivers.places import Place, PlaceKind
from objectql.drivers.protocol import Driver
from objectql.drivers.sql.sqlite import SqliteDriver, SqliteSettings
from objectql.drivers.tenants import Tenant
from objectql.errors import (
    DatabaseFailed,
    NotSupported,
    ObjectQLError,
    TenantExists,
    TenantHasRecords,
    TenantRefused,
    Unavailable,
)
from objectql.ids import TenantId
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.kernel.schema_sync import sync_tables
from objectql.kernel.tenancy import admin as tenant_admin
from objectql.kernel.tenancy import places as tenant_places
from objectql.query.ast import Query
from objectql.values import instant_of_ms
from objectql.wire.messages import HistoryRequest
from objectql.wire.tenants import (
    TenantDeleteRequest,
    TenantExportRequest,
)

from .conftest import (
    ACME,
    APP,
    GLOBEX,
    OPERATOR,
    SHARING,
    Register,
    by,
    names,
    of,
    register_as,
    told_of,
)


async def test_tenants_of_every_kind_live_beside_each_other(kernel: Kernel) -> None:
    for tenant, isolation in ((ACME, "schema"), (GLOBEX, "database"), (SHARING, "row")):
        told = await register_as(isolation, kernel, tenant)
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
    kernel: Kernel, driver: Driver, register: Register
) -> None:
    await register(kernel, ACME)
    await kernel.create("account", {"name": "A"}, context=of(ACME))
    assert await driver.outbox.pending(10) == ()
    own = kernel.engine.placed[driver.name].of(ACME)
    [(_, event)] = await own.outbox.pending(10)
    assert event.tenant == ACME


async def test_publication_changes_the_tables_of_every_tenant(
    kernel: Kernel, register: Register
) -> None:
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
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, register: Register
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
    driver: Driver,
    kernel: Kernel,
    monkeypatch: pytest.MonkeyPatch,
    settings: KernelSettings,
    register: Register,
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
    driver: Driver, kernel: Kernel, kind: PlaceKind
) -> None:
    other = Kernel([driver], settings=KernelSettings(node="other", unknown_tenants="refuse"))
    await other.publisher.converge()
    await other.tenants.converge()
    await kernel.publisher.put("object", "note", {"fields": {"name": {"type": "text"}}})
    document = json.dumps({"id": ACME, "isolation": kind}).encode()
    await other.tenancy.admin.create(document, by(OPERATOR))
    await kernel.tenants.converge()
    assert await names(kernel, ACME, "note") == []
    await other.engine.placed[driver.name].end_places()


async def test_publications_and_registrations_at_once_leave_no_table_behind(
    kernel: Kernel, register: Register
) -> None:
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
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, register: Register
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


async def test_places_are_refused_where_a_source_has_none(
    tmp_path: Path, register: Register
) -> None:
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

    async def test_tenant_without_records_gets_a_place(
        self, kernel: Kernel, register: Register
    ) -> None:
        assert await names(kernel, ACME) == []
        assert (await register(kernel, ACME))["status"] == "active"
        await kernel.create("account", {"name": "A"}, context=of(ACME))
        assert await names(kernel, ACME) == ["A"]

    async def test_tenant_with_records_in_the_shared_tables_keeps_them_and_gets_no_place(
        self, kernel: Kernel, register: Register
    ) -> None:
        await kernel.create("account", {"name": "early"}, context=of(ACME))
        with pytest.raises(TenantHasRecords):
            await register(kernel, ACME)
        assert await names(kernel, ACME) == ["early"]
        assert (await register_as("row", kernel, ACME))["status"] == "active"

    async def test_registration_undone_is_not_finished_by_another_kernel(
        self, driver: Driver, kernel: Kernel, kind: PlaceKind
    ) -> None:
        await kernel.create("account", {"name": "early"}, context=of(ACME))
        made = instant_of_ms(kernel.engine.clock.now_ms())
        half = Tenant(ACME, isolation=kind, pending=tenant_places.BEGUN, created_at=made)
        await driver.tenants.save(half)
        await kernel.tenants.converge()
        with pytest.raises(TenantHasRecords):
            await kernel.tenancy.admin.finish_places()
        assert await names(kernel, ACME) == ["early"]


async def test_place_that_cannot_be_dropped_keeps_no_other_from_its_end(
    kernel: Kernel, driver: Driver, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tenant in (ACME, GLOBEX):
        await register(kernel, tenant)
    places = kernel.engine.placed[driver.name].places
    drop = places.drop

    async def drop_or_fail(place: Place) -> None:
        if place.tenant == first:
            raise Unavailable(what="the database")
        await drop(place)

    first, second = sorted((ACME, GLOBEX))
    for tenant in (first, second):
        await kernel.tenancy.handle_delete(TenantDeleteRequest(tenant, tenant), by(OPERATOR))
    with monkeypatch.context() as failing:
        failing.setattr(places, "drop", drop_or_fail)
        failing.setattr(tenant_admin, "TOMBSTONE_S", 0.0)
        await kernel.tenancy.admin.finish_deletions()
    assert (await register(kernel, second))["status"] == "active"
    with pytest.raises(TenantExists):
        await register(kernel, first)


async def test_publication_waits_for_no_place_that_does_not_answer(
    kernel: Kernel, driver: Driver, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tenant in (ACME, GLOBEX):
        await register(kernel, tenant)
    own = kernel.engine.placed[driver.name].of(ACME)

    async def fail() -> None:  # noqa: RUF029 - the port's shape
        raise Unavailable(what="the database")

    async def wait_for_ever(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as silent:
        silent.setattr(own, "check_health", fail)
        silent.setattr(own, "plan_schema", wait_for_ever)
        await kernel.publisher.put("object", "note", {"fields": {"name": {"type": "text"}}})
    assert await names(kernel, GLOBEX, "note") == []
    assert (await told_of(kernel, ACME))["status"] == "blocked"
    await kernel.tenancy.admin.finish_places()
    assert await names(kernel, ACME, "note") == []
