"""A thousand clients that read a byte a second, and a thousand that lose a right: `python -m bench crowds`.

What the slow ones cost the gateway and the others, and how long those who may not hear any more are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import httpx
from tests.clusters import client, token_of

from bench.live import GATEWAY, USER, create, one_gateway
from bench.live_clients import Forgetful, Reader, connect, hang_up, subscribe
from bench.processes import cpu_s, memory_mb
from objectql_devstack.cluster import Cluster

CROWD = 1000
OTHERS = 20
WRITES_PER_S = 15
TEXT = "x" * 4000
"""So long is a note that slow clients have more waiting than they may after some 180 of them."""

_CLOSES = re.compile(rb'oql_live_closes_total{code="4429"} ([0-9.]+)')


@dataclass
class Slow:
    """The delay of others alone, and beside a crowd that hardly reads."""

    alone_ms: tuple[float, float, float]
    beside_ms: tuple[float, float, float]
    """p50, p95 and p99."""
    client_kb: float
    cut: int
    processors: float


async def crawl(readers: Sequence[Reader]) -> None:
    """Let them read a byte a second, until cancelled."""
    for reader in readers:
        assert reader.transport is not None
        reader.transport.pause_reading()
    socks = [reader.transport.get_extra_info("socket") for reader in readers if reader.transport]
    while True:
        await asyncio.sleep(1)
        for reader, sock in zip(readers, socks, strict=True):
            with contextlib.suppress(OSError):
                found = sock._sock.recv(1)  # what a transport shows of a socket cannot read
                reader.data_received(found)


async def cut(admin: httpx.AsyncClient) -> int:
    """How many clients the gateway has cut because they were slow."""
    found = _CLOSES.search((await admin.get("/metrics")).content)
    return 0 if found is None else int(float(found[1]))


def delays(readers: Sequence[Reader], topic: str) -> list[float]:
    """How long notes of `topic` took to their readers, in ms."""
    found: list[float] = []
    for reader in readers:
        for at, frame in reader.frames():
            data = frame.get("data", {})
            if data.get("name") == topic:
                made = datetime.fromisoformat(data["created_at"]).timestamp()
                found.append((at - made) * 1000)
    return found


async def write(api: httpx.AsyncClient, topic: str, seconds: float) -> None:
    """Write notes for the crowd, and among them some for the others."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    writing: set[asyncio.Task[None]] = set()
    for number in range(int(seconds * WRITES_PER_S)):
        await asyncio.sleep(max(0.0, started + number / WRITES_PER_S - loop.time()))
        for note in (
            {"name": TEXT, "topic": "crowd", "owner": USER},
            {"name": topic, "topic": "others", "owner": USER},
        ):
            writing.add(asyncio.ensure_future(create(api, **note)))
    await asyncio.gather(*writing)
    await asyncio.sleep(1)


async def slow(cluster: Cluster, token: str, crowd: int, seconds: float) -> Slow:
    """See the head of the module."""
    port, pid = cluster.port_of(GATEWAY), cluster.pid(GATEWAY)
    others = [await connect(port, token) for _ in range(OTHERS)]
    await subscribe(others, [[{"topic": "others"}]] * OTHERS)
    async with (
        client(cluster.env) as api,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{cluster.state.known_port(f'{GATEWAY}/admin')}"
        ) as admin,
    ):
        await write(api, "alone", seconds)
        readers: list[Reader] = []
        for _ in range(0, crowd, 50):
            readers += await asyncio.gather(
                *(connect(port, token, Forgetful, receive_bytes=4096) for _ in range(50))
            )
        await subscribe(readers, [[{"topic": "crowd"}]] * crowd)
        before = memory_mb(pid)[0]
        crawling = asyncio.ensure_future(crawl(readers))
        highest = before
        started, used = time.monotonic(), cpu_s(pid)
        writing = asyncio.ensure_future(write(api, "beside the slow", seconds))
        while not writing.done():
            await asyncio.sleep(0.5)
            highest = max(highest, memory_mb(pid)[0])
        await writing
        processors = (cpu_s(pid) - used) / (time.monotonic() - started)
        were_cut = await cut(admin)
        crawling.cancel()
    beside = [delays(others, name) for name in ("alone", "beside the slow")]
    assert len(beside[0]) == len(beside[1]) == OTHERS * int(seconds * WRITES_PER_S)
    cuts = [statistics.quantiles(found, n=100) for found in beside]
    hang_up([*readers, *others])
    return Slow(
        (cuts[0][49], cuts[0][94], cuts[0][98]),
        (cuts[1][49], cuts[1][94], cuts[1][98]),
        (highest - before) * 1024 / crowd,
        were_cut,
        processors,
    )


async def revoke(cluster: Cluster, crowd: int) -> tuple[float, int]:
    """Seconds until the last of those who may read no more was told so, and events after that.

    Each is another user.
    """
    port = cluster.port_of(GATEWAY)
    readers: list[Reader] = []
    for first in range(0, crowd, 50):
        tokens = [token_of(cluster, f"u{number}") for number in range(first, first + 50)]
        readers += await asyncio.gather(*(connect(port, token) for token in tokens))
    await subscribe(readers, [[{"topic": "crowd"}]] * crowd)
    async with client(cluster.env) as api:
        path = "/api/meta/permission/note"
        rules = (await api.get(path)).json()
        changed = json.loads(json.dumps(rules))
        changed["object_permissions"]["read"] = ["admin"]
        for reader in readers:
            reader.watch(b'"error"')
        answer = await api.put(path, content=json.dumps(changed))
        assert answer.status_code < 300, answer.text
        started = time.time()
        for reader in readers:
            await reader.seen(1)
        took = max(reader.chunks[-1][0] for reader in readers) - started
        counts = [len(reader.chunks) for reader in readers]
        for _ in range(5):
            await create(api, name="after", topic="crowd", owner=USER)
        await asyncio.sleep(1)
        await api.put(path, content=json.dumps(rules))
    after = sum(len(r.chunks) - count for r, count in zip(readers, counts, strict=True))
    hang_up(readers)
    return took, after


def run(*, quick: bool) -> None:
    """Measure and print."""
    crowd, seconds = (100, 4.0) if quick else (CROWD, 18.0)

    async def measure(cluster: Cluster) -> tuple[Slow, tuple[float, int]]:
        token = token_of(cluster, USER)
        found = await slow(cluster, token, crowd, seconds)
        return found, await revoke(cluster, crowd)

    with one_gateway() as cluster:
        f, (took_s, after) = asyncio.run(measure(cluster))
    for name, times in (
        ("others alone: p50 / p95 / p99 (ms)", f.alone_ms),
        (f"beside {crowd:,} that read 1 B/s", f.beside_ms),
    ):
        print(f"{name:<56}" + "".join(f"{time_ms:>8.1f}" for time_ms in times))
    print(f"{'  of those cut with their cursor':<56}{f.cut:>8,}")
    print(f"{'  the most that one cost the gateway (KB)':<56}{f.client_kb:>8.0f}")
    print(f"{'  processors the gateway used':<56}{f.processors:>8.2f}")
    print(f"{f'a right is taken from {crowd:,}: the last is told after (s)':<56}{took_s:>8.2f}")
    print(f"{'  events after that':<56}{after:>8}")
