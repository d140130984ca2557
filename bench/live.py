"""Live queries: `python -m bench live`, or `make bench-live`.

How many events one gateway tells per second of its processor, how long a change takes to a client
among thousands of filters, and what a socket costs that does nothing. Clients ask as a user whom a
row rule concerns, and everything that they hear is kept and compared afterwards with what was
written: each event once for each subscription that it concerns, and nothing else.

The clients are ours, in this process: they count bytes while they are measured, and read later.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
from tests.clusters import client, token_of

from bench.live_clients import Reader, connect, hang_up, subscribe
from bench.processes import cpu_s, memory_mb
from objectql_devstack.cluster import Cluster

METADATA = Path(__file__).resolve().parent.parent / "tests" / "live" / "metadata"
GATEWAY = "gateway-ws-1"
USER = "ann"
LIMITS = {
    "OQL_GATEWAY_WS_LIMITS__PRINCIPAL_SOCKETS": "20000",
    "OQL_GATEWAY_WS_LIMITS__SOCKETS": "20000",
    "OQL_GATEWAY_WS_LIMITS__TENANT_SOCKETS": "20000",
    "OQL_GATEWAY_WS_LIMITS__STRANGERS": "20000",
    "OQL_GATEWAY_WS_LIMITS__SITE_STRANGERS": "20000",
    "OQL_GATEWAY_WS_LIMITS__SUBSCRIBING": "100000/s:100000",
}

FAN_OUT = 1000
"""Subscriptions that each event concerns."""

FAN_PER_SOCKET = 10

FILTERS = 5000
PER_SOCKET = 100
WRITES_PER_S = 100


async def create(api: httpx.AsyncClient, **note: Any) -> None:
    answer = await api.post("/api/note", content=json.dumps(note).encode())
    assert answer.status_code == 201, answer.text


@dataclass
class Figures:
    """What was measured."""

    deliveries: int
    deliveries_per_s: float
    deliveries_per_cpu_s: float
    single_per_s: float
    single_per_cpu_s: float
    filters: int
    p50_ms: float
    p95_ms: float
    gateway_cpu: float
    sockets: int
    socket_kb: float


async def fan_out(
    cluster: Cluster, token: str, events: int, *, per_commit: int
) -> tuple[int, float, float]:
    """Deliveries, per second, and per second of the gateway's processor."""
    port, pid = cluster.port_of(GATEWAY), cluster.pid(GATEWAY)
    sockets = FAN_OUT // FAN_PER_SOCKET
    readers = [await connect(port, token) for _ in range(sockets)]
    await subscribe(readers, [[{"topic": "fan"}] * FAN_PER_SOCKET] * sockets)
    async with client(cluster.env) as api:
        for reader in readers:
            reader.watch(b'"name":"e')
        started, used = time.monotonic(), cpu_s(pid)
        for first in range(0, events, 25):
            notes = [
                {"name": f"e{n}", "topic": "fan", "owner": USER}
                for n in range(first, min(first + 25, events))
            ]
            if per_commit == 1:
                await asyncio.gather(*(create(api, **note) for note in notes))
                continue
            operations = [{"object": "note", "action": "create", "data": note} for note in notes]
            text = json.dumps({"operations": operations, "atomic": False})
            answer = await api.post("/api/batch", content=text.encode())
            assert answer.status_code == 200, answer.text
        for reader in readers:
            await reader.seen(FAN_PER_SOCKET * events)
        took, used = time.monotonic() - started, cpu_s(pid) - used
    wanted = Counter({(f"s{s}", f"e{n}"): 1 for s in range(FAN_PER_SOCKET) for n in range(events)})
    for reader in readers:
        told = Counter(
            (event["sub"], event["data"]["name"])
            for _, frame in reader.frames()
            for event in frame.get("events", [frame])
            if event["type"] == "created"
        )
        assert told == wanted, (told - wanted, wanted - told)
    hang_up(readers)
    count = events * FAN_OUT
    return count, count / took, count / used


async def filtered(cluster: Cluster, token: str, seconds: float) -> tuple[list[float], float]:
    """How long changes took to their one client (ms), and the gateway's use of a processor."""
    port, pid = cluster.port_of(GATEWAY), cluster.pid(GATEWAY)
    sockets = FILTERS // PER_SOCKET
    readers = [await connect(port, token) for _ in range(sockets)]
    wheres = [
        [{"topic": f"t{s * PER_SOCKET + n}", "cost": {"$gte": 5}} for n in range(PER_SOCKET)]
        for s in range(sockets)
    ]
    await subscribe(readers, wheres)
    rng = random.Random(5)
    wanted: set[str] = set()
    async with client(cluster.env) as api:
        loop = asyncio.get_running_loop()
        started, used = loop.time(), cpu_s(pid)
        writing: set[asyncio.Task[None]] = set()
        for number in range(int(seconds * WRITES_PER_S)):
            await asyncio.sleep(max(0.0, started + number / WRITES_PER_S - loop.time()))
            is_told = rng.random() < 0.9
            note: dict[str, Any] = {
                "name": f"f{number}",
                "topic": f"t{rng.randrange(FILTERS)}",
                "owner": USER,
            }
            note["cost"] = 10 if is_told else 1
            if is_told:
                wanted.add(note["name"])
            writing.add(asyncio.ensure_future(create(api, **note)))
        await asyncio.gather(*writing)
        took, used = loop.time() - started, cpu_s(pid) - used
        await asyncio.sleep(1)
    found: list[float] = []
    told: Counter[str] = Counter()
    for reader in readers:
        for at, frame in reader.frames():
            for event in frame.get("events", [frame]):
                if event["type"] == "created":
                    told[event["data"]["name"]] += 1
                    made = datetime.fromisoformat(event["data"]["created_at"]).timestamp()
                    found.append((at - made) * 1000)
    assert told == Counter(wanted), "an event is missing, came twice, or was nobody's"
    hang_up(readers)
    return found, used / took


async def idle(cluster: Cluster, token: str, count: int) -> float:
    """What one idle socket with one subscription costs the gateway, in KB."""
    port, pid = cluster.port_of(GATEWAY), cluster.pid(GATEWAY)
    before = memory_mb(pid)[0]
    readers: list[Reader] = []
    for _ in range(0, count, 50):
        readers += await asyncio.gather(*(connect(port, token) for _ in range(50)))
    after = memory_mb(pid)[0]
    hang_up(readers)
    return (after - before) * 1024 / count


async def measure(cluster: Cluster, *, quick: bool) -> Figures:
    token = token_of(cluster, USER)
    sockets = 500 if quick else 10_000
    socket_kb = await idle(cluster, token, sockets)
    events = 25 if quick else 200
    count, per_s, per_cpu_s = await fan_out(cluster, token, events, per_commit=25)
    _, single_per_s, single_per_cpu_s = await fan_out(cluster, token, events, per_commit=1)
    times, used = await filtered(cluster, token, 2 if quick else 5)
    cuts = statistics.quantiles(times, n=20)
    return Figures(
        *(count, per_s, per_cpu_s, single_per_s, single_per_cpu_s),
        *(FILTERS, cuts[9], cuts[18], used, sockets, socket_kb),
    )


@contextmanager
def one_gateway() -> Generator[Cluster]:
    """A cluster with one gateway for sockets, which takes in as many as it can."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(
            Path(folder),
            ports="free",
            kernels=1,
            counts={"coordinator": 1, "gateway-ws": 1},
            metadata=[METADATA],
            ephemeral=True,
            extra_env={"gateway-ws": LIMITS},
        ) as cluster,
    ):
        yield cluster


def run(*, quick: bool) -> None:
    """Measure and print."""
    with one_gateway() as cluster:
        f = asyncio.run(measure(cluster, quick=quick))
    print(f"{'deliveries, each checked for its reader':<48}{f.deliveries:>12,}")
    print(f"{'  per second':<48}{f.deliveries_per_s:>12,.0f}")
    print(f"{'  per second of the gateway’s processor':<48}{f.deliveries_per_cpu_s:>12,.0f}")
    print(f"{'  per second, one change in a commit':<48}{f.single_per_s:>12,.0f}")
    print(f"{'  and per second of its processor':<48}{f.single_per_cpu_s:>12,.0f}")
    print(f"{f'{f.filters:,} filters, {WRITES_PER_S} writes/s: p50 (ms)':<48}{f.p50_ms:>12.1f}")
    print(f"{'  p95 (ms)':<48}{f.p95_ms:>12.1f}")
    print(f"{'  processors the gateway used':<48}{f.gateway_cpu:>12.2f}")
    print(f"{f'an idle socket of {f.sockets:,} (KB)':<48}{f.socket_kb:>12.1f}")
