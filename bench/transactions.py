"""Transactions over several databases: `python -m bench transactions`.

What a commit over two costs against two commits in one each, asked in turn; and how many there are in a
second, over one to four databases.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
from tests.clusters import client, eventually

from objectql_devstack.cluster import Cluster

DATABASES = ("d1", "d2", "d3", "d4")
CALLERS = 8
ACCOUNTS = 64
"""In each database: callers hardly ever meet."""

OBJECT = "label: {name}\ndatasource: {name}\nfields:\n  n: {{type: number}}\n"


@dataclass
class Figures:
    """What was measured: medians of a commit, and commits per second by databases."""

    local_ms: float
    across_ms: float
    per_s: dict[int, float]


@contextmanager
def databases() -> Generator[Cluster]:
    """A cluster with an object `d1` on the data source `d1`, and so on."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "accounts")
        package.mkdir()
        (package / "package.yml").write_text("name: accounts\nversion: 1.0.0\n")
        for name in DATABASES:
            (package / f"{name}.object.yml").write_text(OBJECT.format(name=name))
        with Cluster(
            Path(folder),
            ports="free",
            kernels=2,
            counts={"coordinator": 1, "gateway-ws": 0},
            metadata=[package],
            databases=("objectql", *DATABASES),
            ephemeral=True,
            extra_env={"kernel": {"OQL_KERNEL_POOL__MAX_SIZE": "8"}},
        ) as cluster:
            yield cluster


async def change(http: httpx.AsyncClient, names: Sequence[str], account: int) -> None:
    """One batch with a change in each of the databases `names`."""
    operations = [
        {"object": name, "action": "update", "id": str(account), "data": {"n": {"$inc": 1}}}
        for name in names
    ]
    body = msgspec.json.encode({"operations": operations})
    answer = await http.post("/api/batch", content=body)
    assert answer.status_code == 200, answer.text


async def open_accounts(http: httpx.AsyncClient) -> None:
    """Make all accounts, and return when transactions over several databases can be decided."""
    for name in DATABASES:
        operations = [
            {"object": name, "action": "create", "data": {"id": str(number), "n": 0}}
            for number in range(ACCOUNTS)
        ]
        body = msgspec.json.encode({"operations": operations})
        answer = await http.post("/api/batch", content=body)
        assert answer.status_code == 200, answer.text

    async def decides() -> bool:
        try:
            await change(http, DATABASES, 0)
        except AssertionError:
            return False
        return True

    await eventually(decides, within_s=20, what="a coordinator that decides")


async def latencies(http: httpx.AsyncClient, rounds: int) -> tuple[float, float]:
    """Medians in ms of two commits in one database each, and of one over both; in turn."""
    local: list[float] = []
    across: list[float] = []
    for number in range(rounds):
        account = number % ACCOUNTS
        started_s = time.perf_counter()
        await change(http, ("d1",), account)
        await change(http, ("d2",), account)
        between_s = time.perf_counter()
        await change(http, ("d1", "d2"), account)
        local.append(between_s - started_s)
        across.append(time.perf_counter() - between_s)
    return statistics.median(local) * 1000, statistics.median(across) * 1000


async def rate(http: httpx.AsyncClient, width: int, seconds: float) -> float:
    """Commits per second of `CALLERS` callers, each over `width` databases."""
    numbers = itertools.count()
    ends_s = time.perf_counter() + seconds
    done = 0

    async def call() -> None:
        nonlocal done
        while time.perf_counter() < ends_s:
            number = next(numbers)
            first = number % len(DATABASES)
            names = (DATABASES + DATABASES)[first : first + width]
            await change(http, sorted(names), number % ACCOUNTS)
            done += 1

    started_s = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return done / (time.perf_counter() - started_s)


async def measure(cluster: Cluster, *, quick: bool) -> Figures:
    """See the module."""
    async with client(cluster.env) as http:
        await open_accounts(http)
        await latencies(http, 5 if quick else 30)
        local_ms, across_ms = await latencies(http, 10 if quick else 150)
        widths = range(1, len(DATABASES) + 1)
        rates: dict[int, list[float]] = {width: [] for width in widths}
        for _ in range(1 if quick else 3):
            for width in widths:
                rates[width].append(await rate(http, width, 0.2 if quick else 2.0))
        return Figures(local_ms, across_ms, {w: statistics.median(r) for w, r in rates.items()})


def run(*, quick: bool) -> None:
    """Measure and print."""
    with databases() as cluster:
        found = asyncio.run(measure(cluster, quick=quick))
    print(f"{'two commits, in one database each (median, ms)':<56}{found.local_ms:>8.1f}")
    print(f"{'one commit over both (median, ms)':<56}{found.across_ms:>8.1f}")
    print(f"{'  of the time of two':<56}{found.across_ms / found.local_ms:>8.2f}")
    for width, per_s in found.per_s.items():
        print(f"{f'commits per second of {CALLERS} callers, over {width}':<56}{per_s:>8.0f}")
