"""What a subscriber is told, on a whole cluster."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.clusters import body
from tests.live.sockets import Socket

pytestmark = pytest.mark.servers


async def create(api: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await api.post("/api/note", content=body(fields))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_changes_are_told_as_they_concern_the_filter(
    api: httpx.AsyncClient, socket: Socket
) -> None:
    await socket.subscribe("note", where={"topic": "told"}, fields=["name", "topic"])
    made = await create(api, name="one", topic="told")
    await create(api, name="other", topic="quiet")
    where = f"/api/note/{made['id']}"
    await api.patch(where, content=body({"name": "two"}))
    await api.patch(where, content=body({"topic": "quiet"}))
    await api.patch(where, content=body({"topic": "told"}))
    await api.delete(where)
    events = await socket.events(5)
    told = [(e["type"], e.get("match"), e.get("data", {}).get("name")) for e in events]
    assert told == [
        ("created", None, "one"),
        ("updated", None, "two"),
        ("deleted", "left", None),
        ("updated", "entered", "two"),
        ("deleted", None, None),
    ]
    assert {e["sub"] for e in events} == {"s"}
    assert all(e["object"] == "note" for e in events)
    assert [e.get("id") for e in events] == [None] + [made["id"]] * 4
    assert events[0]["data"] == {"id": made["id"], "name": "one", "topic": "told"}


async def test_a_snapshot_and_what_follows_it_are_from_one_position(
    api: httpx.AsyncClient, socket: Socket
) -> None:
    topic = "snapshot"
    stop = asyncio.Event()

    async def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            made = await create(api, name=f"a{number}", topic=topic)
            await api.patch(f"/api/note/{made['id']}", content=body({"name": f"b{number}"}))
            if number % 3 == 0:
                await api.delete(f"/api/note/{made['id']}")

    writing = asyncio.ensure_future(write())
    try:
        for number in range(20):
            sub = f"s{number}"
            told = await socket.subscribe(
                "note", sub, where={"topic": topic}, fields=["name"], snapshot=True
            )
            state = {item["id"]: item["name"] for item in told["items"]}
            for event in await socket.events(5):
                if event["type"] == "created":
                    assert event["data"]["id"] not in state
                    state[event["data"]["id"]] = event["data"]["name"]
                elif event["type"] == "updated":
                    assert event["id"] in state
                    assert state[event["id"]] != event["data"]["name"], "told twice"
                    state[event["id"]] = event["data"]["name"]
                else:
                    del state[event["id"]]
            await socket.say(type="unsubscribe", sub=sub)
            while (await socket.hear())["type"] != "unsubscribed":
                pass
    finally:
        stop.set()
        await writing


async def test_the_events_of_one_commit_come_in_one_frame(
    api: httpx.AsyncClient, socket: Socket
) -> None:
    await socket.subscribe("note", where={"topic": "batch"}, fields=["name"])
    operations = [
        {"object": "note", "action": "create", "data": {"name": f"n{n}", "topic": "batch"}}
        for n in range(3)
    ]
    answer = await api.post("/api/batch", content=body({"operations": operations}))
    assert answer.status_code == 200, answer.text
    told = await socket.hear()
    assert told["type"] == "batch"
    assert [event["data"]["name"] for event in told["events"]] == ["n0", "n1", "n2"]
    assert {event["cursor"] for event in told["events"]} == {told["cursor"]}


async def test_a_write_right_after_the_acknowledgement_is_always_seen(
    api: httpx.AsyncClient, socket: Socket
) -> None:
    for number in range(100):
        sub = f"z{number}"
        await socket.subscribe("note", sub, where={"name": sub}, fields=["name"])
        made = await create(api, name=sub, topic="zero")
        told = await socket.hear()
        assert (told["type"], told["data"]["id"]) == ("created", made["id"])
        await socket.say(type="unsubscribe", sub=sub)
        assert (await socket.hear())["type"] == "unsubscribed"
