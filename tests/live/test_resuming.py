"""Going on after a break, through any gateway: nothing missed, nothing twice."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import httpx
import pytest

from objectql_devstack.cluster import Cluster
from tests.clusters import body
from tests.live.sockets import open_socket

pytestmark = pytest.mark.servers


def gateways(cluster: Cluster) -> list[str]:
    """The addresses of all WebSocket gateways."""
    names = [name for name in cluster.names if name.startswith("gateway-ws")]
    return [f"ws://127.0.0.1:{cluster.port_of(name)}/ws" for name in names]


async def write(api: httpx.AsyncClient, topic: str, rng: random.Random, count: int) -> None:
    """Writes of every kind: single ones, batches, bulk; creations, updates, deletions."""
    known: list[str] = []
    for number in range(count):
        kind = rng.random()
        if kind < 0.5 or len(known) < 3:
            answer = await api.post(
                "/api/note", content=body({"name": f"n{number}", "topic": topic})
            )
            known.append(answer.json()["id"])
        elif kind < 0.7:
            id_ = rng.choice(known)
            answer = await api.patch(f"/api/note/{id_}", content=body({"name": f"u{number}"}))
        elif kind < 0.8:
            answer = await api.delete(f"/api/note/{known.pop(rng.randrange(len(known)))}")
        else:
            made = {"name": f"b{number}", "topic": topic}
            changed = [
                {"object": "note", "action": "update", "id": i, "data": {"name": f"b{number}"}}
                for i in rng.sample(known, 2)
            ]
            operations = [{"object": "note", "action": "create", "data": made}, *changed]
            answer = await api.post("/api/batch", content=body({"operations": operations}))
        assert answer.status_code < 300, answer.text


async def test_a_client_that_is_dropped_again_and_again_misses_nothing(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    rng = random.Random(7)
    urls, token = gateways(cluster), cluster.env["OQL_ADMIN_TOKEN"]
    assert len(urls) == 2
    topic: dict[str, Any] = {"where": {"topic": "resumed"}, "fields": ["name"]}
    async with open_socket(urls[0], token) as steady:
        first = await steady.subscribe("note", **topic)
        writing = [
            asyncio.ensure_future(write(api, "resumed", random.Random(n), 60)) for n in range(3)
        ]
        heard: list[dict[str, Any]] = []
        cursor = first["cursor"]
        while not all(task.done() for task in writing):
            async with open_socket(rng.choice(urls), token) as socket:
                await socket.subscribe("note", from_=cursor, **topic)
                for _ in range(rng.randrange(1, 8)):
                    try:
                        async with asyncio.timeout(0.2):
                            told = await socket.hear()
                    except TimeoutError:
                        break
                    heard.append(told)
                    cursor = told["cursor"]
        await asyncio.gather(*writing)
        end = await api.post("/api/note", content=body({"name": "end", "topic": "resumed"}))
        last = end.json()["id"]

        def is_last(told: dict[str, Any]) -> bool:
            return told.get("data", {}).get("id") == last

        async with open_socket(rng.choice(urls), token) as socket:
            await socket.subscribe("note", from_=cursor, **topic)
            while not heard or not is_last(heard[-1]):
                heard.append(await socket.hear())
        wanted: list[dict[str, Any]] = []
        while not wanted or not is_last(wanted[-1]):
            wanted.append(await steady.hear())
    assert heard == wanted


async def test_a_cursor_that_nobody_gave_is_refused_and_one_of_another_stream_too_old(
    cluster: Cluster,
) -> None:
    url, token = cluster.env["OQL_WS_URL"], cluster.env["OQL_ADMIN_TOKEN"]
    async with open_socket(url, token) as socket:
        for cursor in ("", "x", "A" * 56, "é"):
            await socket.say(type="subscribe", id="s", object="note", from_=cursor)
            told = await socket.hear()
            assert (told["type"], told["code"]) == ("error", "INVALID_QUERY")
