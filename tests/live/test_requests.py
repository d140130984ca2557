"""Data operations over a socket, on a whole cluster: with its permissions, its keys and its tenants."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from objectql_devstack.cluster import Cluster
from tests.clusters import administrator, body, token_of
from tests.live.sockets import Socket, open_socket

pytestmark = pytest.mark.servers


async def test_what_a_socket_writes_it_hears_and_reads(socket: Socket) -> None:
    await socket.subscribe("note", where={"topic": "asked"}, fields=["name"])
    made = await socket.ask("create", object="note", body={"name": "one", "topic": "asked"})
    assert made["consistency_token"]
    note = made["body"]["id"]
    changed = await socket.ask(
        "update", object="note", record=note, body={"name": "two"}, if_version=made["version"]
    )
    assert changed["version"] == made["version"] + 1
    stale = await socket.ask(
        "update", object="note", record=note, body={"name": "three"}, if_version=made["version"]
    )
    assert stale["error"]["code"] == "CONCURRENT_UPDATE"
    read = await socket.ask("get", object="note", record=note, body={"fields": ["name"]})
    assert read["body"] == {"id": note, "name": "two"}
    where = {"where": {"topic": "asked"}, "fields": ["name"], "count": True}
    page = await socket.ask("query", object="note", body=where)
    assert page["body"]["items"] == [read["body"]]
    operations = [
        {"object": "note", "action": "update", "id": note, "data": {"name": "four"}},
        {"object": "note", "action": "create", "data": {"topic": "asked", "parent": {"$ref": 0}}},
    ]
    batch = await socket.ask("batch", body={"operations": operations})
    assert batch["body"]["results"][1]["parent"] == note
    assert batch["body"]["transaction"]["state"] == "committed"
    rows = {"operation": "update", "records": [{"id": note, "name": "five"}]}
    bulk = await socket.ask("bulk", object="note", body=rows)
    assert bulk["body"]["succeeded"] == 1
    found = {"topic": "asked", "name": "five", "cost": 7}
    upsert = await socket.ask("upsert", object="note", body=found, match=["name"])
    assert upsert["body"]["id"] == note
    counted = {"where": {"topic": "asked"}, "aggregations": [{"function": "count", "alias": "n"}]}
    groups = await socket.ask("aggregate", object="note", body=counted)
    assert groups["body"]["items"] == [{"n": 2}]
    gone = await socket.ask("delete", object="note", record=note)
    assert gone["body"] == {"id": note, "deleted": True}
    told = [(e["type"], e.get("data", {}).get("name")) for e in await socket.events(8)]
    assert told == [
        ("created", "one"),
        ("updated", "two"),
        ("updated", "four"),
        ("created", None),
        ("updated", "five"),
        ("updated", "five"),
        ("updated", None),  # it has no parent any more
        ("deleted", None),
    ]


async def test_the_trace_of_a_write_is_that_of_its_events(socket: Socket) -> None:
    await socket.subscribe("note", where={"topic": "traced"})
    trace = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}
    await socket.ask("create", object="note", body={"topic": "traced"}, trace=trace)
    await socket.ask("create", object="note", body={"topic": "traced"})
    told = await socket.events(2)
    assert [event.get("traceparent") for event in told] == [trace["traceparent"], None]


async def test_a_key_makes_one_write_of_two_through_either_door(
    socket: Socket, api: httpx.AsyncClient
) -> None:
    asked: dict[str, Any] = {"object": "note", "body": {"name": "once"}}
    first = await socket.ask("create", idempotency_key="twice", **asked)
    again = await socket.ask("create", idempotency_key="twice", **asked)
    assert again["body"] == first["body"]
    answer = await api.post(
        "/api/note", content=body({"name": "once"}), headers={"Idempotency-Key": "twice"}
    )
    assert answer.json() == first["body"]
    other = await socket.ask("create", idempotency_key="twice", object="note", body={"name": "x"})
    assert other["error"]["code"] == "IDEMPOTENCY_KEY_REUSED"


async def test_permissions_and_tenants_are_those_of_every_door(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    """The same requests through both, as callers of every kind: the answers are the same."""
    rival = administrator(cluster.env, "rival")
    for each, name in ((api, "ours"), (rival, "theirs")):
        note = {"id": f"door-{name}", "name": "s", "topic": "doors", "owner": "ann", "secret": name}
        answer = await each.post("/api/note", content=body(note))
        assert answer.status_code == 201, answer.text
    callers = {
        "admin": cluster.env["OQL_ADMIN_TOKEN"],
        "ann": token_of(cluster, "ann"),
        "bob": token_of(cluster, "bob"),
        "nobody": token_of(cluster, "eve", role="nobody"),
        "rival": token_of(cluster, "u1", role="admin", tenant="rival"),
    }
    queries: list[dict[str, Any]] = [
        {"where": {"topic": "doors"}},
        {"where": {"secret": "ours"}},
        {"fields": ["secret"], "where": {"topic": "doors"}},
        {"where": {"topic": "doors"}, "orderBy": "secret"},
    ]
    url = cluster.env["OQL_WS_URL"]
    for token in callers.values():
        headers = {"Authorization": f"Bearer {token}"}
        async with open_socket(url, token) as socket:
            for id in ("door-ours", "door-theirs", "door-none"):
                path = f"/api/note/{id}"
                for asked, answer in (
                    (socket.ask("get", object="note", record=id), api.get(path, headers=headers)),
                    (
                        socket.ask("update", object="note", record=id, body={"secret": "s"}),
                        api.patch(path, content=body({"secret": "s"}), headers=headers),
                    ),
                ):
                    assert said(await asked, untimed=True) == door(await answer, untimed=True)
            for query in queries:
                answer = await api.post("/api/note/query", content=body(query), headers=headers)
                told = await socket.ask("query", object="note", body=query)
                assert said(told) == door(answer), query
    await rival.aclose()


def said(told: dict[str, Any], *, untimed: bool = False) -> Any:
    """What a response says: its body, or the code and text of its error."""
    if "error" in told:
        return told["error"]["code"], told["error"]["message"]
    return timeless(told["body"]) if untimed else told["body"]


def door(answer: httpx.Response, *, untimed: bool = False) -> Any:
    """The same of an answer over HTTP."""
    told = answer.json()
    if answer.status_code >= 400:
        return told["code"], told["detail"]
    return timeless(told) if untimed else told


def timeless(record: dict[str, Any]) -> dict[str, Any]:
    """The record without what each write changes."""
    changing = {"version", "updated_at", "updated_by"}
    return {key: value for key, value in record.items() if key not in changing}


async def test_requests_are_pipelined_and_their_answers_find_them(socket: Socket) -> None:
    bodies = [{"id": f"pipe{n}", "topic": "pipe"} for n in range(12)]
    answers = await asyncio.gather(
        *(socket.ask("create", object="note", body=each) for each in bodies)
    )
    assert [answer["body"]["id"] for answer in answers] == [each["id"] for each in bodies]
