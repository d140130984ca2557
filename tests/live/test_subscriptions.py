"""What a subscriber is told, on a whole cluster."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from objectql_devstack.cluster import Cluster
from tests.clusters import body
from tests.live.following import ask_all, position, truth, view
from tests.live.sockets import Socket, open_socket
from tests.live.validator import Heard, faults
from tests.live.writing import Writer

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
    cluster: Cluster, api: httpx.AsyncClient, socket: Socket
) -> None:
    topic, pg_url = "snapshot", cluster.env["OQL_PG_URL"]
    is_over = asyncio.Event()
    writers = [Writer(api, topic, seed=number) for number in (11, 12)]
    writing = [asyncio.ensure_future(w.until(is_over.is_set, per_s=300)) for w in writers]
    streams: list[Heard] = []
    asked: dict[str, Any] = {"where": {"topic": topic}, "fields": ["name", "version"]}
    try:
        for number in range(20):
            sub = f"s{number}"
            told = await socket.subscribe("note", sub, snapshot=True, **asked)
            heard = Heard(await position(pg_url), told["items"], is_cut=True)
            streams.append(heard)
            heard.frames += [await socket.hear() for _ in range(5)]
            await socket.say(type="unsubscribe", sub=sub)
            while (told := await socket.hear())["type"] != "unsubscribed":
                heard.frames.append(told)
    finally:
        is_over.set()
        await asyncio.gather(*writing)
    changes = await truth(pg_url, "note")
    assert [
        fault for heard in streams for fault in faults(heard, changes, view(topic, "admin"))
    ] == []


async def test_the_mode_live_leads_to_the_same_state_with_fewer_words(
    cluster: Cluster, api: httpx.AsyncClient, socket: Socket
) -> None:
    topic = "latest"
    writers = [Writer(api, topic, seed=number) for number in (21, 22)]
    where = {"topic": topic}
    told = await socket.subscribe(
        "note", "live", mode="live", snapshot=True, where=where, fields=["name", "version"]
    )
    heard = Heard(0, told["items"])
    await asyncio.gather(*(writer.write(60) for writer in writers))
    end = await create(api, name="end", topic=topic)
    while end["id"] not in heard.state():
        heard.frames.append(await socket.hear())
    now = await ask_all(api, "note", ["id", "name", "version"], where)
    assert heard.state() == {note["id"]: note for note in now}
    async with open_socket(cluster.env["OQL_WS_URL"], cluster.env["OQL_ADMIN_TOKEN"]) as other:
        # What has happened since the beginning is told at once, and each record only as it is now.
        since = {"from_": told["cursor"], "where": where, "fields": ["name", "version"]}
        await other.subscribe("note", "again", mode="live", **since)
        again = Heard(0, told["items"])
        while again.state() != heard.state():
            again.frames.append(await other.hear())


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
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    """A thousand times, by ten clients at a time."""
    url, token = cluster.env["OQL_WS_URL"], cluster.env["OQL_ADMIN_TOKEN"]

    async def attempt(client: int) -> None:
        async with open_socket(url, token) as socket:
            for number in range(100):
                sub = f"z{client}-{number}"
                await socket.subscribe("note", sub, where={"name": sub}, fields=["name"])
                made = await create(api, name=sub, topic="zero")
                told = await socket.hear()
                assert (told["type"], told["data"]["id"]) == ("created", made["id"])

    await asyncio.gather(*map(attempt, range(10)))
