"""Going on after a break, through any gateway: nothing missed, nothing twice."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import httpx
import pytest

from objectql_devstack.cluster import Cluster
from tests.clusters import token_of
from tests.live.following import Follower, ask_all, finish, truth, view
from tests.live.sockets import open_socket, socket_urls
from tests.live.writing import Writer

pytestmark = pytest.mark.servers


async def test_clients_that_are_dropped_again_and_again_hear_the_truth(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    rng, topic, pg_url = random.Random(7), "resumed", cluster.env["OQL_PG_URL"]
    assert len(socket_urls(cluster)) == 2
    asked: dict[str, Any] = {"where": {"topic": topic}, "fields": ["name", "version"]}
    tokens = {"admin": cluster.env["OQL_ADMIN_TOKEN"], "ann": token_of(cluster, "ann")}
    followers = {
        (name, number): Follower(
            socket_urls(cluster), token, "note", pg_url=pg_url, seed=number, **asked
        )
        for name, token in tokens.items()
        for number in range(2)
    }
    following = [asyncio.ensure_future(f.follow()) for f in followers.values()]
    writers = [Writer(api, topic, seed=number) for number in range(3)]
    writing = [asyncio.ensure_future(writer.write(60)) for writer in writers]
    while not all(task.done() for task in writing):
        await asyncio.sleep(0.05)
        rng.choice(list(followers.values())).drop()
    await asyncio.gather(*writing)
    await finish(api, following, topic)
    changes = await truth(pg_url, "note")
    now = await ask_all(api, "note", ["id", "name", "version", "owner"], {"topic": topic})
    for (name, _), follower in followers.items():
        mine = [note for note in now if name in {"admin", note["owner"]}]
        seen = [{key: note[key] for key in ("id", "name", "version")} for note in mine]
        assert follower.faults(changes, view(topic, name), seen) == []
        assert follower.resyncs == 0


async def test_a_cursor_that_nobody_gave_is_refused_and_one_of_another_stream_too_old(
    cluster: Cluster,
) -> None:
    url, token = cluster.env["OQL_WS_URL"], cluster.env["OQL_ADMIN_TOKEN"]
    async with open_socket(url, token) as socket:
        for cursor in ("", "x", "A" * 56, "é"):
            await socket.say(type="subscribe", id="s", object="note", from_=cursor)
            told = await socket.hear()
            assert (told["type"], told["code"]) == ("error", "INVALID_QUERY")
