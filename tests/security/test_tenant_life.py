"""A tenant that is suspended or deleted is refused by every kernel, within a second."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

import asyncpg  # noqa: TID251 - stands in the way of a tenant's tables
import httpx
import msgspec
import pytest

from objectql.drivers.places import PlaceKind
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.drivers.tenants import Tenant
from objectql.ids import TenantId, uuid7
from objectql_devstack.cluster import Cluster
from tests.clusters import CRM, administrator, client, eventually
from tests.streams import all_events

pytestmark = pytest.mark.servers

TENANTS = "/api/admin/tenants"
AT_ONCE = 16
"""With two kernels in the queue group, both get some."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    root = tmp_path_factory.mktemp("tenants")
    with Cluster(
        root,
        ports="free",
        kernels=2,
        metadata=[CRM],
        extra_env={"kernel": {"OQL_KERNEL_TENANCY__UNKNOWN": "refuse"}},
        ephemeral=True,
    ) as running:
        yield running


@pytest.fixture(params=["row", "schema", "database"])
def isolation(request: pytest.FixtureRequest) -> str:
    """What keeps the tenants of a test apart; all kinds live in one cluster."""
    return request.param


@pytest.fixture(params=["schema", "database"])
def kind(request: pytest.FixtureRequest) -> PlaceKind:
    """Where a tenant has tables of its own."""
    return request.param


def database_of(cluster: Cluster, id_: str) -> str:
    """The URL of the database that a tenant has, or would have."""
    return f"{cluster.env['OQL_PG_URL']}~{id_}"


async def register(operator: httpx.AsyncClient, name: str, isolation: str) -> str:
    """Register a tenant of that name and kind, and return its id."""
    id_ = f"{name}-{isolation}"
    answer = await operator.post(TENANTS, json={"id": id_, "isolation": isolation})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["status"], answer.json()["isolation"]) == ("active", isolation)
    return id_


@pytest.fixture
async def operator(cluster: Cluster) -> AsyncGenerator[httpx.AsyncClient]:
    async with client(cluster.env) as http:
        yield http


async def statuses(http: httpx.AsyncClient) -> set[int]:
    """How every kernel answers reads and writes."""
    reads = [http.get("/api/account") for _ in range(AT_ONCE)]
    writes = [http.post("/api/account", json={"name": uuid7()}) for _ in range(AT_ONCE)]
    return {answer.status_code for answer in await asyncio.gather(*reads, *writes)}


async def test_suspension_holds_everywhere_and_ends_again(
    cluster: Cluster, operator: httpx.AsyncClient, isolation: str
) -> None:
    id_ = await register(operator, "acme", isolation)
    async with administrator(cluster.env, id_) as acme:
        assert await statuses(acme) == {200, 201}
        await operator.patch(f"{TENANTS}/{id_}", json={"suspended": True})

        async def refused() -> bool:
            return await statuses(acme) == {403}

        await eventually(refused, within_s=5, what="the refusal by every kernel")
        answer = await acme.get("/api/account")
        assert answer.json()["code"] == "TENANT_NOT_ACTIVE"
        await operator.patch(f"{TENANTS}/{id_}", json={"suspended": False})

        async def served() -> bool:
            return await statuses(acme) == {200, 201}

        await eventually(served, within_s=5, what="service by every kernel")


async def test_suspension_whose_announcement_is_lost_is_noticed(
    cluster: Cluster, operator: httpx.AsyncClient, isolation: str
) -> None:
    id_ = await register(operator, "quiet", isolation)
    async with administrator(cluster.env, id_) as quiet:
        assert await statuses(quiet) == {200, 201}
        store = PostgresDriver(PostgresSettings(cluster.env["OQL_PG_URL"]))
        await store.connect()
        try:  # nobody is told
            known = next(t for t in (await store.tenants.load())[1] if t.id == id_)
            await store.tenants.save(msgspec.structs.replace(known, suspended=True))
        finally:
            await store.close()

        async def refused() -> bool:
            return await statuses(quiet) == {403}

        await eventually(refused, within_s=5, what="the refusal by every kernel")


async def test_deleted_tenant_is_gone_with_its_data(
    cluster: Cluster, operator: httpx.AsyncClient, isolation: str
) -> None:
    id_ = await register(operator, "gone", isolation)
    async with administrator(cluster.env, id_) as gone:
        assert (await gone.post("/api/account", json={"name": "Marker"})).status_code == 201
        exported = await operator.get(f"{TENANTS}/{id_}/export")
        lines: list[dict[str, Any]] = [json.loads(line) for line in exported.text.splitlines()]
        assert [line["record"]["name"] for line in lines if "record" in line] == ["Marker"]
        assert (await operator.delete(f"{TENANTS}/{id_}")).status_code == 409
        deleted = await operator.delete(f"{TENANTS}/{id_}", params={"confirm": id_})
        assert deleted.status_code == 204, deleted.text

        async def unknown() -> bool:  # the id may be another's one day, who must not believe them
            return await statuses(gone) == {401}

        await eventually(unknown, within_s=5, what="the end of the tenant's tokens")
    assert (await operator.get(f"{TENANTS}/{id_}")).status_code == 404
    assert (await operator.get(f"{TENANTS}/{id_}/export")).status_code == 404
    assert (await operator.post(TENANTS, json={"id": id_})).status_code == 409


async def test_database_of_a_deleted_tenant_is_dropped(
    cluster: Cluster, operator: httpx.AsyncClient
) -> None:
    id_ = await register(operator, "dropped", "database")
    async with administrator(cluster.env, id_) as dropped:
        assert await statuses(dropped) == {200, 201}
    connection = await asyncpg.connect(database_of(cluster, id_))  # keeps nobody from dropping it
    deleted = await operator.delete(f"{TENANTS}/{id_}", params={"confirm": id_})
    assert deleted.status_code == 204, deleted.text
    connection.terminate()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(database_of(cluster, id_))


async def test_registration_is_repaired_when_its_kernel_died_half_way(
    cluster: Cluster, operator: httpx.AsyncClient, kind: PlaceKind
) -> None:
    id_ = f"half-{kind}"
    store = PostgresDriver(PostgresSettings(cluster.env["OQL_PG_URL"]))
    await store.connect()
    try:  # what a kernel leaves that dies before it makes the place
        half = Tenant(TenantId(id_), isolation=kind, pending="its tables are being made")
        await store.tenants.save(half)
    finally:
        await store.close()
    async with administrator(cluster.env, id_) as half_way:

        async def served() -> bool:
            return await statuses(half_way) == {200, 201}

        await eventually(served, within_s=30, what="service by every kernel")
    assert (await operator.get(f"{TENANTS}/{id_}")).json()["status"] == "active"


async def test_tables_that_cannot_be_changed_block_their_tenant_alone(
    cluster: Cluster, operator: httpx.AsyncClient, kind: PlaceKind
) -> None:
    id_ = await register(operator, "stuck", kind)
    other = await register(operator, "other", kind)
    is_schema = kind == "schema"
    url = cluster.env["OQL_PG_URL"] if is_schema else database_of(cluster, id_)
    schema = f"tenant_{id_}" if is_schema else "public"
    name = f"obstacle_{kind}"
    admin = await asyncpg.connect(url)
    try:  # a table of somebody else stands where the new object's goes, and cannot be made to fit
        await admin.execute(f'CREATE VIEW "{schema}".{name} AS SELECT 1 AS id')
        obstacle = {"fields": {"name": {"type": "text"}}}
        put = await operator.put(f"/api/meta/object/{name}", json=obstacle)
        assert put.status_code == 200, put.text
        async with (
            administrator(cluster.env, id_) as stuck,
            administrator(cluster.env, other) as free,
        ):

            async def blocked() -> bool:
                return {a.status_code for a in [await stuck.get("/api/account")] * 8} == {503}

            await eventually(blocked, within_s=10, what="the refusal")
            assert (await free.post(f"/api/{name}", json={"name": "x"})).status_code == 201
            told = (await operator.get(f"{TENANTS}/{id_}")).json()
            assert told["status"] == "blocked"
            assert told["problem"]
            await admin.execute(f'DROP VIEW "{schema}".{name}')

            async def served() -> bool:
                return await statuses(stuck) == {200, 201}

            await eventually(served, within_s=40, what="service after the obstacle")
            assert (await stuck.get(f"/api/{name}")).status_code == 200
    finally:
        await admin.close()


async def test_events_of_every_tenant_reach_the_stream(
    cluster: Cluster, operator: httpx.AsyncClient, isolation: str
) -> None:
    id_ = await register(operator, "events", isolation)
    async with administrator(cluster.env, id_) as http:
        made = await http.post("/api/account", json={"name": "Event"})
        assert made.status_code == 201, made.text

    async def arrived() -> bool:
        events = await all_events(cluster.env["OQL_NATS_URL"])
        return (id_, made.json()["id"]) in {(e.tenant, e.record_id) for e in events}

    await eventually(arrived, within_s=20, what="the event in the stream")


async def test_administration_is_for_the_system_role(cluster: Cluster) -> None:
    async with administrator(cluster.env, "acme") as acme:
        for method, path in (
            ("GET", TENANTS),
            ("POST", TENANTS),
            ("GET", f"{TENANTS}/default"),
            ("GET", f"{TENANTS}/none"),
            ("PATCH", f"{TENANTS}/default"),
            ("DELETE", f"{TENANTS}/default"),
            ("GET", f"{TENANTS}/default/export"),
        ):
            answer = await acme.request(method, path, content=b"{}")
            assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")


async def test_what_a_tenant_has_of_its_own_is_in_force_everywhere_and_gone_with_it(
    cluster: Cluster, operator: httpx.AsyncClient, isolation: str
) -> None:
    ids = {kind: await register(operator, kind, isolation) for kind in ("number", "text")}
    for kind, id_ in ids.items():
        fields = {"fields": {"extra__c": {"type": kind, "index": True}}}
        await put_own(operator, id_, "account", fields)
        parcel = {"title": {"type": kind}, "account": {"type": "lookup", "reference": "account"}}
        await put_own(operator, id_, "parcel__c", {"fields": parcel})
    async with administrator(cluster.env, ids["number"]) as one:
        async with administrator(cluster.env, ids["text"]) as other:
            values: tuple[tuple[httpx.AsyncClient, Any], ...] = ((one, 7), (other, "seven"))
            for http, value in values:
                await eventually(in_force(http), within_s=5, what="the field in every kernel")
                await use_own(http, value)
            data = {"name": "x", "extra__c": "seven"}
            assert (await one.post("/api/account", json=data)).status_code == 400
        exported = await operator.get(f"{TENANTS}/{ids['number']}/export")
        assert '"object":"parcel__c"' in exported.text
        deleted = await operator.delete(
            f"{TENANTS}/{ids['number']}", params={"confirm": ids["number"]}
        )
        assert deleted.status_code == 204, deleted.text
        assert await statuses(one) == {401}


async def put_own(operator: httpx.AsyncClient, id_: str, name: str, document: Any) -> None:
    answer = await operator.put(f"{TENANTS}/{id_}/metadata/object/{name}", json=document)
    assert answer.status_code == 200, answer.text


def in_force(http: httpx.AsyncClient) -> Callable[[], Awaitable[bool]]:
    async def is_known() -> bool:
        asked = [http.get("/api/parcel__c?orderby=title") for _ in range(AT_ONCE)]
        asked += [http.get("/api/account?orderby=extra__c") for _ in range(AT_ONCE)]
        return {answer.status_code for answer in await asyncio.gather(*asked)} == {200}

    return is_known


async def use_own(http: httpx.AsyncClient, value: object) -> None:
    """Write, find, sort, group, expand, describe and delete what the tenant alone has."""
    made = await http.post("/api/account", json={"name": "Marker", "extra__c": value})
    assert made.json()["extra__c"] == value
    id_ = made.json()["id"]
    parcel = {"title": value, "account": id_}
    assert (await http.post("/api/parcel__c", json=parcel)).status_code == 201
    found = await http.post("/api/account/query", json={"where": {"extra__c": value}})
    assert [row["id"] for row in found.json()["items"]] == [id_]
    listed = await http.get("/api/account", params={"orderby": "extra__c", "expand": "parcel__c"})
    assert [row["title"] for row in listed.json()["items"][0]["parcel__c"]] == [value]
    looked = await http.get("/api/parcel__c", params={"expand": "account"})
    assert looked.json()["items"][0]["account"]["extra__c"] == value
    grouped = await http.post("/api/account/query", json={"groupBy": ["extra__c"]})
    assert {"extra__c": value} in grouped.json()["items"]
    document = (await http.get("/openapi.json")).json()
    assert "/api/parcel__c" in document["paths"]
    assert (await http.delete(f"/api/account/{id_}")).status_code in {200, 204}
    emptied = (await http.get("/api/parcel__c")).json()["items"]
    assert [row["account"] for row in emptied] == [None]
