"""Live queries under faults: sockets that break, gateways that die, NATS away, the stream deleted."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest
from tests.clusters import ROOT, client, token_of
from tests.live.following import Follower, ask_all, finish, truth, view
from tests.live.sockets import socket_urls
from tests.live.writing import Writer

from objectql.bus.nats import NatsBus
from objectql.wire.subjects import DATA_STREAM
from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

log = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)

WRITES_PER_S = 200
WRITERS = int(os.environ.get("OQL_LIVE_WRITERS", "8"))
"""Each waits for its answer, which takes long while something is broken: for the full rate more are needed."""

NOTES = 480
"""Of all writers at a time, so that a snapshot has room for them."""

FOLLOWERS = 6

DROPS = int(os.environ.get("OQL_LIVE_DROPS", "60"))
"""Sockets that are broken off; every tenth is followed by a greater fault."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    with Cluster(
        tmp_path_factory.mktemp("live_faults"),
        ports="free",
        kernels=2,
        counts={"coordinator": 1, "gateway-ws": 2},
        metadata=[ROOT / "tests" / "live" / "metadata"],
        ephemeral=True,
    ) as running:
        yield running


class Saboteur:
    """Breaks what live queries stand on, one thing after the other."""

    def __init__(self, cluster: Cluster, followers: list[Follower], rng: random.Random) -> None:
        self._cluster = cluster
        self._followers = followers
        self._rng = rng
        self.did: list[str] = []

    async def work(self, drops: int) -> None:
        """Break `drops` sockets, and in between greater things in turn."""
        greater: list[Callable[[], Awaitable[None]]] = [
            self._kill_gateway,
            self._delete_stream,
            self._restart_nats,
        ]
        for number in range(1, drops + 1):
            await asyncio.sleep(self._rng.uniform(0.02, 0.15))
            await self._drop()
            if number % 10 == 0:
                await greater[(number // 10 - 1) % len(greater)]()

    async def _drop(self) -> None:
        async with asyncio.timeout(60):
            while True:
                listening = [each for each in self._followers if each.is_subscribed]
                if listening:
                    self._rng.choice(listening).drop()
                    return
                await asyncio.sleep(0.02)

    async def _kill_gateway(self) -> None:
        name = self._rng.choice(("gateway-ws-1", "gateway-ws-2"))
        self.did.append("kill a gateway")
        os.kill(self._cluster.pid(name), signal.SIGKILL)
        await asyncio.to_thread(self._cluster.restart, name)

    async def _restart_nats(self) -> None:
        self.did.append("restart nats")
        await asyncio.to_thread(self._cluster.kill, "nats-1")
        await asyncio.to_thread(self._cluster.restart, "nats-1")

    async def _delete_stream(self) -> None:
        self.did.append("delete stream")
        bus = await NatsBus.connect(self._cluster.env["OQL_NATS_URL"], name="saboteur")
        try:
            await bus.request(f"$JS.API.STREAM.DELETE.{DATA_STREAM}", b"", {}, timeout_s=5)
        finally:
            await bus.close()


async def test_nothing_is_missed_doubled_or_betrayed_whatever_breaks(cluster: Cluster) -> None:
    rng, topic, pg_url = random.Random(DROPS), "faults", cluster.env["OQL_PG_URL"]
    asked: dict[str, Any] = {"where": {"topic": topic}, "fields": ["name", "version"]}
    users = ["admin", "ann", "bob"]
    tokens = {user: token_of(cluster, user) for user in users[1:]}
    tokens["admin"] = cluster.env["OQL_ADMIN_TOKEN"]
    followers = [
        (
            users[number % 3],
            Follower(
                socket_urls(cluster),
                tokens[users[number % 3]],
                "note",
                pg_url=pg_url,
                seed=number,
                **asked,
            ),
        )
        for number in range(FOLLOWERS)
    ]
    following = [asyncio.ensure_future(f.follow()) for _, f in followers]
    saboteur = Saboteur(cluster, [f for _, f in followers], rng)
    is_over = asyncio.Event()
    async with client(cluster.env) as api:
        writers = [
            Writer(api, topic, seed=number, tolerant=True, many=NOTES // WRITERS)
            for number in range(WRITERS)
        ]
        writing = [
            asyncio.ensure_future(w.until(is_over.is_set, per_s=WRITES_PER_S / WRITERS))
            for w in writers
        ]
        try:
            await saboteur.work(DROPS)
        finally:
            is_over.set()
            await asyncio.gather(*writing)
        await finish(api, following, topic)
        changes = await truth(pg_url, "note")
        now = await ask_all(api, "note", ["id", "name", "version", "owner"], {"topic": topic})
    log.info(
        "%d changes of %d tries, %d drops, %s, %d frames, %d resyncs",
        len(changes),
        sum(w.count for w in writers),
        sum(f.breaks for _, f in followers),
        dict(Counter(saboteur.did)),
        sum(f.heard for _, f in followers),
        sum(f.resyncs for _, f in followers),
    )
    for user, follower in followers:
        mine = [note for note in now if user in {"admin", note["owner"]}]
        seen = [{key: note[key] for key in ("id", "name", "version")} for note in mine]
        assert follower.faults(changes, view(topic, user), seen) == []
        assert follower.resyncs == 0, user
    assert {"delete stream", "restart nats"} <= set(saboteur.did)
