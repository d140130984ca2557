"""What a tenant had of its own is gone with it, and what sleeps opens nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from objectql.context import system_actor
from objectql.drivers.memory import MemoryDriver
from objectql.drivers.protocol import Driver
from objectql.errors import (
    PermissionDenied,
)
from objectql.ids import TenantId
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.kernel.result_cache.cache import ResultCache
from objectql.kernel.result_cache.store import MemoryStore
from objectql.kernel.tenancy import admin as tenant_admin
from objectql.kernel.tenancy import own_metadata
from objectql.metadata.overlay import TenantMetadata
from objectql.metadata.transfer import decode_own
from objectql.wire.tenants import (
    TenantDeleteRequest,
    TenantSnapshotRequest,
)

from .conftest import (
    ACME,
    APP,
    OPERATOR,
    by,
    described,
    fields,
    give,
    of,
    purge,
    register,
    take,
)


async def end(kernel: Kernel, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delete the tenant, so that its id may be another's."""
    await kernel.tenancy.handle_delete(TenantDeleteRequest(tenant, tenant), by(OPERATOR))
    monkeypatch.setattr(tenant_admin, "TOMBSTONE_S", 0.0)
    await kernel.tenancy.admin.finish_deletions()


async def test_a_kernel_that_slept_through_a_tenants_end_knows_what_the_next_one_has(
    kernel: Kernel, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Kernel([driver], settings=kernel.engine.settings)
    await other.publisher.converge()
    await fields(kernel, ACME, former__c="text")
    await other.tenants.converge()
    await end(kernel, ACME, monkeypatch)
    await register(kernel, ACME)
    await fields(kernel, ACME, new__c="text")
    await other.tenants.converge()
    known = other.engine.model_of(ACME).object("account").fields
    assert {name for name in known if name.endswith("__c")} == {"new__c"}


async def test_a_gateway_is_told_what_differs_from_what_it_has(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def told(known: str) -> TenantMetadata | None:
        request = TenantSnapshotRequest(ACME, known)
        reply = await kernel.tenancy.handle_snapshot(request, by(system_actor()))
        return None if reply.items is None else decode_own(reply.items)

    nothing = TenantMetadata().digest
    assert await told(nothing) is None
    await fields(kernel, ACME, former__c="text")
    former = await told(nothing)
    assert former is not None
    assert await told(former.digest) is None
    await end(kernel, ACME, monkeypatch)
    await register(kernel, ACME)
    await fields(kernel, ACME, new__c="text")
    new = await told(former.digest)
    assert new is not None
    assert (new.number, [d.content for d in new.documents]) == (
        former.number,
        [{"fields": {"new__c": {"type": "text"}}}],
    )


class TestKeptAnswers:
    """Nothing that was deleted is answered from the result cache, however long that keeps it."""

    @pytest.fixture
    async def kernel(
        self, settings: KernelSettings, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncGenerator[Kernel]:
        monkeypatch.setattr(tenant_admin, "SETTLE_S", 0.0)
        cache = ResultCache(MemoryStore())
        kernel = Kernel([MemoryDriver(), APP], settings=settings, cache=cache)
        await kernel.start()
        await register(kernel, ACME)
        yield kernel
        await kernel.stop()

    async def test_of_a_tenant_whose_id_is_used_again(
        self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = await kernel.create("account", {"name": "former"}, context=of(ACME))
        assert (await kernel.get("account", made["id"], context=of(ACME))) is not None
        assert len((await kernel.find("account", {}, context=of(ACME))).value) == 1
        await end(kernel, ACME, monkeypatch)
        await register(kernel, ACME)
        assert await kernel.get("account", made["id"], context=of(ACME)) is None
        assert (await kernel.find("account", {}, context=of(ACME))).value == []

    async def test_of_a_field_that_was_purged_and_is_declared_anew(
        self, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await fields(kernel, ACME, size__c="text")
        data = {"name": "a", "size__c": "purged"}
        made = await kernel.create("account", data, context=of(ACME))
        got = await kernel.get("account", made["id"], context=of(ACME))
        assert got is not None
        assert got["size__c"] == "purged"
        await take(kernel, ACME, "account")
        monkeypatch.setattr(own_metadata, "PURGE_AFTER_MS", -1)
        assert await purge(kernel, ACME) == ["account.size__c"]
        await fields(kernel, ACME, size__c="text")
        got = await kernel.get("account", made["id"], context=of(ACME))
        assert got is not None
        assert got.get("size__c") is None


# --- permissions that sleep -----------------------------------------------------------------------


class TestOpenByDefault:
    @pytest.fixture
    def settings(self) -> KernelSettings:
        return KernelSettings(unknown_tenants="refuse", default_access="allow")

    async def test_an_object_whose_permissions_sleep_is_closed(self, kernel: Kernel) -> None:
        await kernel.publisher.put("object", "project", {"fields": {"name": {"type": "text"}}})
        link = {"type": "lookup", "reference": "project"}
        await give(kernel, ACME, "parcel__c", {"fields": {"title": {"type": "text"}, "in": link}})
        grants = {
            "object_permissions": {"read": ["sales"]},
            "field_permissions": {"in": {"read": ["boss"]}},
        }
        await give(kernel, ACME, "parcel__c", grants, "permission")
        await kernel.publisher.delete("object", "project")
        await give(kernel, ACME, "parcel__c", {"fields": {"title": {"type": "text"}}})
        assert {i["file"] for i in (await described(kernel, ACME))["asleep"]} == {
            "permission/parcel__c"
        }
        for role in ("sales", "boss"):
            with pytest.raises(PermissionDenied):
                await kernel.find("parcel__c", {}, context=of(ACME, role))
            with pytest.raises(PermissionDenied):
                await kernel.create("parcel__c", {"title": "t"}, context=of(ACME, role))
        assert (await kernel.find("parcel__c", {}, context=of(ACME))).value == []
        await take(kernel, ACME, "parcel__c", "permission")
        assert (await kernel.find("parcel__c", {}, context=of(ACME, "sales"))).value == []
