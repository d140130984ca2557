"""The README's requests and their edges, on a whole cluster."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest
from tests.clusters import body

pytestmark = [pytest.mark.servers, pytest.mark.containers]


async def test_flights_per_carrier(api: httpx.AsyncClient) -> None:
    answer = await api.post(
        "/api/flight/aggregate",
        content=body(
            {
                "groupBy": ["carrier"],
                "aggregations": [{"function": "count", "alias": "flights"}],
                "orderBy": [{"field": "flights", "order": "desc"}],
            }
        ),
    )
    assert answer.status_code == 200, answer.text
    groups = answer.json()["items"]
    assert sum(group["flights"] for group in groups) == 3000
    counts = [group["flights"] for group in groups]
    assert counts == sorted(counts, reverse=True)
    assert all(type(count) is int for count in counts)


async def test_longest_delays_with_airline_and_origin(api: httpx.AsyncClient) -> None:
    answer = await api.get(
        "/api/flight",
        params={
            "$orderby": "dep_delay desc",
            "$filter": "dep_delay ne null",
            "$top": 10,
            "$select": "flight_number,dep_delay,carrier,origin",
            "$expand": "carrier($select=name),origin($select=name,tz)",
        },
    )
    assert answer.status_code == 200, answer.text
    items = answer.json()["items"]
    delays = [item["dep_delay"] for item in items]
    assert len(items) == 10
    assert delays == sorted(delays, reverse=True)
    assert set(items[0]) == {"id", "flight_number", "dep_delay", "carrier", "origin"}
    assert set(items[0]["carrier"]) == {"id", "name"}
    assert items[0]["origin"]["tz"] == "America/New_York"
    meta = answer.json()["meta"]
    assert meta["has_next"] is True
    assert "total" not in meta


async def test_cursor_pages_hold_every_row_once(api: httpx.AsyncClient) -> None:
    seen: Counter[str] = Counter()
    params: dict[str, Any] = {
        "$select": "id,dep_delay",
        "$orderby": "dep_delay desc",
        "$top": 700,
        "$count": "true",
    }
    while True:
        page = (await api.get("/api/flight", params=params)).json()
        seen.update(item["id"] for item in page["items"])
        if not page["meta"]["has_next"]:
            break
        params = {**params, "$after": page["meta"]["next"]}
    assert len(seen) == 3000
    assert set(seen.values()) == {1}


async def test_dangling_codes_are_null_lookups(api: httpx.AsyncClient) -> None:
    answer = await api.get(
        "/api/flight",
        params={"$filter": "dest eq null", "$select": "dest_code,dest", "$top": 1000},
    )
    codes = {item["dest_code"] for item in answer.json()["items"]}
    assert codes
    assert codes <= {"BQN", "SJU", "STT", "PSE"}


async def test_create_change_and_delete_with_etags(api: httpx.AsyncClient) -> None:
    created = await api.post(
        "/api/account",
        content=body({"id": "umbrella", "name": "Umbrella Logistics", "industry": "travel"}),
    )
    assert created.status_code == 201, created.text
    assert created.headers["ETag"] == '"1"'
    assert created.headers["Location"].endswith("/api/account/umbrella")
    assert created.json()["version"] == 1

    changed = await api.patch(
        "/api/account/umbrella", content=body({"employees": 80}), headers={"If-Match": '"1"'}
    )
    assert changed.status_code == 200, changed.text
    assert changed.headers["ETag"] == '"2"'
    assert changed.json()["employees"] == 80

    late = await api.patch(
        "/api/account/umbrella", content=body({"employees": 90}), headers={"If-Match": '"1"'}
    )
    assert late.status_code == 412
    assert late.headers["Content-Type"].startswith("application/problem+json")

    unchanged = await api.get("/api/account/umbrella", headers={"If-None-Match": '"2"'})
    assert unchanged.status_code == 304

    assert (await api.delete("/api/account/umbrella")).json() == {
        "id": "umbrella",
        "deleted": True,
    }
    assert (await api.get("/api/account/umbrella")).status_code == 404


async def test_every_problem_of_a_record_is_listed(api: httpx.AsyncClient) -> None:
    answer = await api.post(
        "/api/account",
        content=body({"industry": "piracy", "employees": 0, "website": "nowhere", "colour": "red"}),
    )
    assert answer.status_code == 400
    problem = answer.json()
    assert problem["code"] == "VALIDATION_FAILED"
    assert {error["path"] for error in problem["errors"]} == {
        "name",
        "industry",
        "employees",
        "website",
        "colour",
    }
    assert problem["request_id"]


async def test_concurrent_same_idempotency_key_has_one_effect(api: httpx.AsyncClient) -> None:
    async def create() -> httpx.Response:
        return await api.post(
            "/api/task", content=body({"subject": "once"}), headers={"Idempotency-Key": "once-1"}
        )

    answers = await asyncio.gather(*(create() for _ in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    listed = await api.get("/api/task", params={"$filter": "subject eq 'once'"})
    assert len(listed.json()["items"]) == 1

    other = await api.post(
        "/api/task", content=body({"subject": "other"}), headers={"Idempotency-Key": "once-1"}
    )
    assert other.status_code == 409


async def test_a_batch_is_atomic_and_refers_to_earlier_results(api: httpx.AsyncClient) -> None:
    operations: list[dict[str, Any]] = [
        {"object": "account", "action": "create", "data": {"name": "Batch Inc", "employees": 5}},
        {
            "object": "contact",
            "action": "create",
            "data": {"last_name": "Ref", "account": {"$ref": 0}},
        },
        {
            "object": "account",
            "action": "update",
            "id": {"$ref": 0},
            "data": {"employees": {"$inc": 3}},
        },
    ]
    answer = await api.post("/api/batch", content=body({"operations": operations, "atomic": True}))
    assert answer.status_code == 200, answer.text
    assert answer.json()["transaction"]["state"] == "committed"
    account_id = answer.json()["results"][0]["id"]
    assert (await api.get(f"/api/account/{account_id}")).json()["employees"] == 8

    operations[0]["data"]["name"] = "Batch Two"
    operations[1]["data"] = {"account": {"$ref": 0}}  # no last name
    failed = await api.post("/api/batch", content=body({"operations": operations, "atomic": True}))
    assert failed.status_code == 400
    listed = await api.get("/api/account", params={"$filter": "name eq 'Batch Two'"})
    assert listed.json()["items"] == []


async def test_hooks_and_the_action_of_the_crm_example(api: httpx.AsyncClient) -> None:
    created = await api.post(
        "/api/opportunity",
        content=body({"name": "Wing parts", "account": "acme", "close_date": "2027-01-31"}),
    )
    assert created.status_code == 201, created.text
    assert created.json()["probability"] == 10
    path = f"/api/opportunity/{created.json()['id']}"

    early = await api.post(f"{path}/actions/close_won", content=body({}))
    assert early.status_code == 409

    for stage in ("qualification", "proposal"):
        assert (await api.patch(path, content=body({"stage": stage}))).status_code == 200
    jump = await api.patch(path, content=body({"stage": "prospecting"}))
    assert jump.status_code == 400
    assert jump.json()["errors"][0]["message"] == (
        "An opportunity cannot go from proposal to prospecting"
    )

    won = await api.post(f"{path}/actions/close_won", content=body({"amount": 1234.5}))
    assert won.status_code == 200, won.text
    record = (await api.get(path)).json()
    assert (record["stage"], record["amount"], record["probability"]) == ("closed_won", 1234.5, 100)
    assert record["won_at"].endswith("Z")
    tasks = await api.get("/api/task", params={"$filter": f"opportunity eq '{record['id']}'"})
    assert [task["subject"] for task in tasks.json()["items"]] == ["Welcome Wing parts"]


async def test_delete_rules_of_lookups(api: httpx.AsyncClient) -> None:
    account = (await api.post("/api/account", content=body({"name": "Delete rules"}))).json()["id"]
    contact = (
        await api.post("/api/contact", content=body({"last_name": "Gone", "account": account}))
    ).json()["id"]
    task = (
        await api.post("/api/task", content=body({"subject": "Stays", "account": account}))
    ).json()["id"]
    deal = (
        await api.post(
            "/api/opportunity",
            content=body({"name": "Blocks", "account": account, "close_date": "2027-01-31"}),
        )
    ).json()["id"]

    blocked = await api.delete(f"/api/account/{account}")
    assert blocked.status_code == 409
    assert blocked.json()["code"] == "DELETE_RESTRICTED"

    assert (await api.delete(f"/api/opportunity/{deal}")).status_code == 200
    assert (await api.delete(f"/api/account/{account}")).status_code == 200
    assert (await api.get(f"/api/contact/{contact}")).status_code == 404
    assert (await api.get(f"/api/task/{task}")).json()["account"] is None
