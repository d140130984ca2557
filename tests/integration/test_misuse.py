"""What a stranger may try, and may not get."""

from __future__ import annotations

import asyncio

import httpx
import jwt
import pytest
from tests.clusters import body, client

from objectql_devstack.cluster import Cluster

pytestmark = pytest.mark.servers


def token(cluster: Cluster, tenant: str, *roles: str) -> str:
    claims = {"sub": "stranger", "tenant": tenant, "roles": list(roles), "exp": 4_000_000_000}
    return jwt.encode(claims, cluster.env["OQL_JWT_SECRET"], algorithm="HS256")


@pytest.mark.parametrize("name", ["oql_leases", "pg_class", "sqlite_master"])
async def test_system_tables_are_no_objects(api: httpx.AsyncClient, name: str) -> None:
    document = {"fields": {"a": {"type": "text"}}}
    for query in ("", "?allow_destructive=true"):
        answer = await api.put(f"/api/meta/object/{name}{query}", content=body(document))
        assert answer.status_code == 400, answer.text
        assert answer.json()["errors"][0]["code"] == "reserved_object_name"
    table = {**document, "tableName": name}
    answer = await api.put("/api/meta/object/harmless", content=body(table))
    assert answer.json()["errors"][0]["code"] == "reserved_table_name"


async def test_an_admin_of_another_tenant_cannot_change_shared_metadata(cluster: Cluster) -> None:
    async with client(cluster.env, token=token(cluster, "t2", "admin")) as stranger:
        put = await stranger.put(
            "/api/meta/object/intruder", content=body({"fields": {"a": {"type": "text"}}})
        )
        assert put.status_code == 403
        assert (await stranger.delete("/api/meta/object/account")).status_code == 403


async def test_giving_up_one_objects_data_leaves_the_others(api: httpx.AsyncClient) -> None:
    keeper = {"fields": {"a": {"type": "text"}, "b": {"type": "text"}}}
    assert (await api.put("/api/meta/object/keeper", content=body(keeper))).status_code == 200
    made = await api.post("/api/keeper", content=body({"id": "k", "a": "1", "b": "2"}))
    assert made.status_code == 201
    smaller = {"fields": {"a": {"type": "text"}}}
    refused = await api.put("/api/meta/object/keeper", content=body(smaller))
    assert refused.status_code == 409

    other = await api.put(
        "/api/meta/object/bystander?allow_destructive=true",
        content=body({"fields": {"x": {"type": "text"}}}),
    )
    assert other.status_code == 200, other.text
    assert not [change for change in other.json()["changes"] if "keeper" in change]
    lost = await api.put("/api/meta/object/keeper?allow_destructive=true", content=body(smaller))
    assert lost.status_code == 200, lost.text
    assert "b" not in (await api.get("/api/keeper/k")).json()


async def test_a_document_of_another_name_is_refused(api: httpx.AsyncClient) -> None:
    document = {"name": "other", "fields": {"a": {"type": "text"}}}
    answer = await api.put("/api/meta/object/account", content=body(document))
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "name_mismatch"


async def test_increments_end_at_the_fields_bounds(api: httpx.AsyncClient) -> None:
    made = await api.post("/api/account", content=body({"name": "Counting", "employees": 5}))
    path = f"/api/account/{made.json()['id']}"
    for amount in (-100, 0.5, 1e308):
        answer = await api.patch(path, content=body({"employees": {"$inc": amount}}))
        assert answer.status_code == 400, (amount, answer.text)
        assert answer.json()["errors"][0]["path"] == "employees"
    assert (await api.patch(path, content=body({"employees": {"$inc": 2}}))).status_code == 200
    assert (await api.get(path)).json()["employees"] == 7


async def test_an_action_with_a_key_runs_once(api: httpx.AsyncClient) -> None:
    made = await api.post(
        "/api/opportunity",
        content=body({"name": "Twice", "account": "acme", "close_date": "2027-03-01"}),
    )
    path = f"/api/opportunity/{made.json()['id']}"
    for stage in ("qualification", "proposal"):
        assert (await api.patch(path, content=body({"stage": stage}))).status_code == 200

    async def win() -> httpx.Response:
        return await api.post(
            f"{path}/actions/close_won",
            content=body({"amount": 10}),
            headers={"Idempotency-Key": "win-once"},
        )

    answers = await asyncio.gather(*(win() for _ in range(4)))
    assert {answer.status_code for answer in answers} == {200}, [a.text for a in answers]
    assert len({answer.text for answer in answers}) == 1
    tasks = await api.get("/api/task", params={"$filter": f"opportunity eq '{made.json()['id']}'"})
    assert len(tasks.json()["items"]) == 1


@pytest.mark.parametrize("operation", ["deleteMany", "updateMany"])
async def test_writes_of_many_records_need_a_filter(api: httpx.AsyncClient, operation: str) -> None:
    before = (await api.get("/api/contact", params={"$count": "true"})).json()["meta"]["total"]
    answer = await api.post(
        "/api/objectql",
        content=body({"op": operation, "object": "contact", "args": {"data": {"phone": "1"}}}),
    )
    assert answer.status_code == 400
    after = (await api.get("/api/contact", params={"$count": "true"})).json()["meta"]["total"]
    assert after == before


async def test_an_expanded_record_is_never_unmodified_by_its_own_version(
    api: httpx.AsyncClient,
) -> None:
    path = "/api/account/acme?$expand=contact"
    tag = (await api.get(path)).headers["ETag"]
    assert (await api.get("/api/account/acme", headers={"If-None-Match": tag})).status_code == 304
    assert (await api.get(path, headers={"If-None-Match": tag})).status_code == 200


async def test_a_token_with_an_absurd_date_is_refused(cluster: Cluster) -> None:
    secret = cluster.env["OQL_JWT_SECRET"]
    claims = {"sub": "x", "roles": ["admin"], "exp": 10**400}
    absurd = jwt.encode(claims, secret, algorithm="HS256")
    async with client(cluster.env, token=absurd) as stranger:
        assert (await stranger.get("/api/account")).status_code == 401


async def test_next_states_come_from_the_validation_rule(api: httpx.AsyncClient) -> None:
    answer = await api.get("/api/v1/meta/object/opportunity/state/stage?from=qualification")
    assert answer.json()["next"] == ["proposal", "closed_lost"]


async def test_a_tree_has_no_circles(api: httpx.AsyncClient) -> None:
    ids = [
        (await api.post("/api/contact", content=body({"last_name": f"Tree {n}"}))).json()["id"]
        for n in range(3)
    ]
    for below, above in ((0, 1), (1, 2)):
        moved = await api.patch(
            f"/api/contact/{ids[below]}", content=body({"reports_to": ids[above]})
        )
        assert moved.status_code == 200
    for above in (0, 2):
        circle = await api.patch(f"/api/contact/{ids[2]}", content=body({"reports_to": ids[above]}))
        assert circle.status_code == 400, circle.text
        assert circle.json()["errors"][0]["path"] == "reports_to"
