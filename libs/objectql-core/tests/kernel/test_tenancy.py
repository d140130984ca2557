"""Tenants are registered, suspended, exported and deleted, on every driver."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from objectql.clock import SystemClock
from objectql.context import SYSTEM_ROLE, Actor, Context, system_actor
from objectql.drivers.protocol import Driver
from objectql.errors import (
    InvalidJson,
    InvalidRequest,
    ObjectQLError,
    PermissionDenied,
    TenantExists,
    TenantNotSuspended,
    TenantRefused,
    TenantUnknown,
    Unauthenticated,
)
from objectql.ids import TenantId
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.kernel.tenancy import admin as tenant_admin
from objectql.kernel.tenancy import export as exports
from objectql.query.ast import Query
from objectql.wire.identity import RefreshRequest, SignInRequest, UserCreateRequest
from objectql.wire.messages import FindRequest, MetaTypesRequest
from objectql.wire.tenants import (
    TenantChangeRequest,
    TenantCreateRequest,
    TenantDeleteRequest,
    TenantExportRequest,
    TenantGetRequest,
    TenantListRequest,
)

ACME = TenantId("acme")
OPERATOR = Actor(id="op", roles=(SYSTEM_ROLE,))


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """One kernel has nobody to wait for."""
    monkeypatch.setattr(tenant_admin, "SETTLE_S", 0.0)


def by(actor: Actor) -> Context:
    return Context(actor, SystemClock().now_ms() + 30_000, "r1")


def of(tenant: TenantId) -> Context:
    return by(Actor(id="u1", tenant=tenant, roles=("admin",)))


async def register(kernel: Kernel, id: str = "acme", **more: Any) -> dict[str, Any]:
    document = json.dumps({"id": id, **more}).encode()
    reply = await kernel.tenancy.handle_create(TenantCreateRequest(document), by(OPERATOR))
    return json.loads(reply.body)


async def change(kernel: Kernel, id: str = "acme", **what: Any) -> dict[str, Any]:
    request = TenantChangeRequest(id, json.dumps(what).encode())
    return json.loads((await kernel.tenancy.handle_change(request, by(OPERATOR))).body)


async def registered(kernel: Kernel) -> list[str]:
    reply = await kernel.tenancy.handle_list(TenantListRequest(), by(OPERATOR))
    return [tenant["id"] for tenant in json.loads(reply.body)]


async def remove(kernel: Kernel, id: str = "acme", confirm: str | None = None) -> None:
    await kernel.tenancy.handle_delete(TenantDeleteRequest(id, confirm), by(OPERATOR))


async def export(kernel: Kernel, id: str) -> list[dict[str, Any]]:
    request = TenantExportRequest(id)
    lines = b""
    while True:
        page = await kernel.tenancy.handle_export(request, by(OPERATOR))
        lines += page.lines
        if page.object is None:
            return [json.loads(line) for line in lines.splitlines()]
        request = TenantExportRequest(id, page.object, page.after)


async def test_registered_tenant_is_told_as_the_contract_says(kernel: Kernel) -> None:
    created = await register(kernel, name="Acme", settings={"tier": 1}, quotas={"records": 9})
    assert (
        created.items()
        >= {
            "id": "acme",
            "name": "Acme",
            "isolation": "row",
            "suspended": False,
            "settings": {"tier": 1},
        }.items()
    )
    reply = await kernel.tenancy.handle_get(TenantGetRequest("acme"), by(OPERATOR))
    assert json.loads(reply.body) == created
    assert await registered(kernel) == ["acme", "default"]


async def test_default_tenant_is_always_there_and_stays(kernel: Kernel) -> None:
    assert await registered(kernel) == ["default"]
    assert (await change(kernel, "default", name="Main"))["name"] == "Main"
    with pytest.raises(InvalidRequest):
        await change(kernel, "default", suspended=True)
    with pytest.raises(InvalidRequest):
        await remove(kernel, "default", "default")
    with pytest.raises(TenantExists):
        await register(kernel, "default")


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (b"[]", InvalidJson),
        (b"{}", InvalidRequest),
        (b'{"id":"no spaces"}', InvalidRequest),
        (b'{"id":"a.b"}', InvalidRequest),
        (b'{"id":"a","isolation":"none"}', InvalidRequest),
        (b'{"id":"a","suspended":1}', InvalidRequest),
        (b'{"id":"a","secret":1}', InvalidRequest),
        (b'{"id":"a","quotas":{"cpu":1}}', InvalidRequest),
    ],
)
async def test_document_that_is_no_tenant_is_refused(
    kernel: Kernel, document: bytes, error: type[ObjectQLError]
) -> None:
    with pytest.raises(error):
        await kernel.tenancy.handle_create(TenantCreateRequest(document), by(OPERATOR))
    assert await registered(kernel) == ["default"]


async def test_second_registration_of_an_id_is_refused(kernel: Kernel) -> None:
    await register(kernel)
    with pytest.raises(TenantExists):
        await register(kernel)


@pytest.mark.parametrize(
    "outsider",
    [
        Actor(id="u1"),
        Actor(id="u1", roles=("admin",)),
        Actor(id="u1", tenant=ACME, roles=("system", "admin")),
        Actor(id="u1", roles=("system",), scopes=("*:*",)),
    ],
)
async def test_only_the_role_system_of_the_default_tenant_administers(
    kernel: Kernel, outsider: Actor
) -> None:
    tenancy = kernel.tenancy
    calls: list[tuple[Callable[..., Any], Any]] = [
        (tenancy.handle_list, TenantListRequest()),
        (tenancy.handle_get, TenantGetRequest("default")),
        (tenancy.handle_create, TenantCreateRequest(b'{"id":"x"}')),
        (tenancy.handle_change, TenantChangeRequest("default", b"{}")),
        (tenancy.handle_delete, TenantDeleteRequest("default")),
        (tenancy.handle_export, TenantExportRequest("default")),
    ]
    for handle, request in calls:
        with pytest.raises(PermissionDenied):
            await handle(request, by(outsider))


async def test_suspended_tenant_may_neither_read_nor_write_until_it_is_resumed(
    kernel: Kernel,
) -> None:
    await register(kernel)
    await kernel.create("account", {"name": "A"}, context=of(ACME))
    await change(kernel, suspended=True)
    with pytest.raises(TenantRefused):
        await kernel.find("account", context=of(ACME))
    with pytest.raises(TenantRefused):
        await kernel.create("account", {"name": "B"}, context=of(ACME))
    with pytest.raises(TenantRefused):
        await kernel.handle_meta_types(MetaTypesRequest(), of(ACME))
    await change(kernel, suspended=False)
    assert len((await kernel.find("account", context=of(ACME))).value) == 1


async def test_suspended_tenant_gets_no_tokens_for_a_session_it_has(kernel: Kernel) -> None:
    await register(kernel)
    user = UserCreateRequest("ann", password="correct horse battery")  # noqa: S106
    await kernel.identity.handle_user_create(user, of(ACME))
    nobody = by(Actor(id="", tenant=ACME))
    tokens = await kernel.identity.handle_sign_in(
        SignInRequest("ann", "correct horse battery"), nobody
    )
    await change(kernel, suspended=True)
    with pytest.raises(Unauthenticated):
        await kernel.identity.handle_refresh(RefreshRequest(tokens.refresh_token), by(Actor(id="")))


async def test_another_kernel_refuses_once_it_has_looked(driver: Driver, kernel: Kernel) -> None:
    await register(kernel)
    other = Kernel([driver], settings=KernelSettings(node="other"))
    await other.publisher.converge()
    await other.tenants.converge()
    assert other.tenants.is_active(ACME)
    await change(kernel, suspended=True)
    assert await other.tenants.converge()
    with pytest.raises(TenantRefused):
        await other.tenants.admit(ACME)


class TestUnknownTenants:
    @pytest.fixture
    def settings(self) -> KernelSettings:
        return KernelSettings(unknown_tenants="refuse")

    async def test_are_refused_like_suspended_ones_until_registered(self, kernel: Kernel) -> None:
        await register(kernel, "paused", suspended=True)
        answers: list[ObjectQLError] = []
        for tenant in (ACME, TenantId("paused")):
            with pytest.raises(TenantRefused) as refused:
                await kernel.find("account", context=of(tenant))
            answers.append(refused.value)
        assert answers[0].to_info() == answers[1].to_info()
        await register(kernel)
        assert (await kernel.find("account", context=of(ACME))).value == []


async def test_only_a_suspended_or_named_tenant_is_deleted(kernel: Kernel) -> None:
    await register(kernel)
    with pytest.raises(TenantNotSuspended):
        await remove(kernel)
    with pytest.raises(InvalidRequest):
        await remove(kernel, confirm="acm")
    await change(kernel, suspended=True)
    await remove(kernel)
    assert await registered(kernel) == ["default"]
    with pytest.raises(TenantUnknown):
        await kernel.tenancy.handle_get(TenantGetRequest("acme"), by(OPERATOR))


async def test_nothing_of_a_deleted_tenant_is_left_and_all_of_others(
    kernel: Kernel, driver: Driver
) -> None:
    await register(kernel)
    for tenant in (ACME, TenantId("other")):
        account = await kernel.create("account", {"name": "A", "code": "k"}, context=of(tenant))
        await kernel.create("contact", {"name": "C", "account": account["id"]}, context=of(tenant))
        await kernel.create("invoice", {"account": account["id"], "total": 1}, context=of(tenant))
    await remove(kernel, confirm="acme")
    with pytest.raises(TenantRefused):  # also where unknown tenants are accepted
        await kernel.find("account", context=of(ACME))
    with pytest.raises(TenantExists):
        await register(kernel)
    system = msgspec.structs.replace(by(OPERATOR), actor=system_actor(ACME))
    scope = kernel.reader.scope(system)
    for name in ("account", "contact", "invoice"):
        assert await kernel.reader.rows(Query(name), scope) == []
        assert len((await kernel.find(name, context=of(TenantId("other")))).value) == 1
    assert {event.tenant for _, event in await driver.outbox.pending(100)} == {"other"}


async def test_what_came_late_is_removed_before_the_id_is_free_again(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await register(kernel)
    await remove(kernel, confirm="acme")
    late = msgspec.structs.replace(by(OPERATOR), actor=system_actor(ACME))
    api = kernel.api(kernel.reader.scope(late))
    await api.create("account", {"name": "late"})  # a write that began before the suspension
    await kernel.tenancy.admin.finish_deletions()
    with pytest.raises(TenantExists):
        await register(kernel)
    monkeypatch.setattr(tenant_admin, "TOMBSTONE_S", 0.0)
    await kernel.tenancy.admin.finish_deletions()
    await register(kernel)
    assert (await kernel.find("account", context=of(ACME))).value == []


async def test_export_holds_every_record_of_the_tenant_and_no_other(kernel: Kernel) -> None:
    await register(kernel, name="Acme")
    for tenant, name in ((ACME, "ours"), (TenantId("other"), "theirs")):
        for number in range(3):
            await kernel.create("account", {"name": f"{name} {number}"}, context=of(tenant))
    await kernel.create("contact", {"name": "ours"}, context=of(ACME))
    first, *lines = await export(kernel, "acme")
    assert first["tenant"]["name"] == "Acme"
    assert [line["object"] for line in lines] == ["account"] * 3 + ["contact"]
    assert sorted(line["record"]["name"] for line in lines) == [
        *("ours", "ours 0", "ours 1", "ours 2")
    ]
    assert all("id" in line["record"] and "version" in line["record"] for line in lines)


async def test_export_goes_on_from_page_to_page(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "_ROWS", 4)
    monkeypatch.setattr(exports, "MAX_BYTES", 900)  # some two records
    await register(kernel)
    for number in range(7):
        await kernel.create("account", {"name": f"{number}"}, context=of(ACME))
    _, *lines = await export(kernel, "acme")
    assert [line["record"]["name"] for line in lines] == [f"{n}" for n in range(7)]


async def test_export_of_an_unknown_tenant_or_place_is_refused(kernel: Kernel) -> None:
    with pytest.raises(TenantUnknown):
        await export(kernel, "nobody")
    request = TenantExportRequest("default", "nothing")
    with pytest.raises(InvalidRequest):
        await kernel.tenancy.handle_export(request, by(OPERATOR))


async def test_cross_tenant_lookups_and_uniques_do_not_meet(kernel: Kernel) -> None:
    other = TenantId("other")
    ours = await kernel.create("account", {"name": "A", "code": "k"}, context=of(ACME))
    theirs = await kernel.create("account", {"name": "A", "code": "k"}, context=of(other))
    errors: list[dict[str, Any]] = []
    for id_ in (theirs["id"], theirs["id"][:-4] + "0000"):
        with pytest.raises(ObjectQLError) as refused:
            await kernel.create("contact", {"name": "C", "account": id_}, context=of(ACME))
        told = msgspec.to_builtins(refused.value.to_info())
        errors.append(json.loads(json.dumps(told).replace(id_, "ID")))
    assert errors[0] == errors[1]
    page = await kernel.handle_find(FindRequest(Query("account")), of(ACME))
    assert [record["id"] for record in json.loads(page.items)] == [ours["id"]]
