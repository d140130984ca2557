"""HTTP benchmarks: this system and the hand-written baseline on one table, in turn, in one run.

Load comes from wrk at 32 connections. Every scenario is warmed up, then measured in rounds that
alternate between the contestants; medians and their ratio are what counts. Beside the rates stands
the processor time that one request costs all processes that serve it (gateway, NATS, kernel and
Postgres; the baseline and Postgres), which other work on the machine disturbs far less.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import asyncpg

from bench import processes
from bench.report import table
from objectql_devstack.cluster import Cluster
from objectql_devstack.ports import free_port

HERE = Path(__file__).parent
ROWS = 100_000
CATEGORIES = 500
CONNECTIONS = 32
SEED = """
    INSERT INTO item (tenant_id, id, created_at, created_by, updated_at, updated_by, version,
        name, category, status, quantity, price, rating, active, notes, due_on, seen_at)
    SELECT 'default', 'i' || lpad(n::text, 6, '0'), now(), 'bench', now(), 'bench', 1,
        'Item ' || n, 'c' || n % {categories}, (ARRAY['new', 'open', 'done'])[n % 3 + 1], n % 1000,
        (n % 10000) / 100.0, n % 50 / 10.0, n % 2 = 0, repeat('note ', n % 10),
        date '2026-01-01' + n % 365, timestamptz '2026-01-01' + n * interval '1 minute'
    FROM generate_series(1, {rows}) AS n;
    ANALYZE item;
"""
BODY = {
    "name": "Bench",
    "category": "new",
    "status": "open",
    "quantity": 7,
    "price": 9.5,
    "rating": 4.5,
    "active": True,
    "notes": "made by the benchmark",
    "due_on": "2026-05-01",
    "seen_at": "2026-05-01T10:00:00+00:00",
}


Figures = dict[str, list[float]]


def no_figures() -> Figures:
    return {"ours": [], "baseline": []}


@dataclass
class Scenario:
    """One kind of request for both contestants, as wrk Lua; `goal` is the least ratio wanted."""

    name: str
    ours: str
    baseline: str
    goal: float
    rates: Figures = field(default_factory=no_figures)
    p99: Figures = field(default_factory=no_figures)
    cpu: Figures = field(default_factory=no_figures)

    @staticmethod
    def medians(figures: Figures) -> tuple[float, float]:
        """Ours, then the baseline's."""
        return statistics.median(figures["ours"]), statistics.median(figures["baseline"])


def lua(method: str, path: str, body: str = "nil", headers: str = "") -> str:
    """A wrk script: `path` and `body` are Lua expressions evaluated for each request."""
    return f"""
        math.randomseed(os.time())
        local n = 0
        request = function()
            n = n + 1
            local headers = {{ {headers} }}
            headers["Content-Type"] = "application/json"
            return wrk.format("{method}", {path}, headers, {body})
        end
    """


def scenarios(token: str, rows: int) -> list[Scenario]:
    """Design §8's list for what exists."""
    auth = f'["Authorization"] = "Bearer {token}"'
    keyed = auth + ', ["Idempotency-Key"] = "k" .. os.time() .. "-" .. math.random(1, 1e15)'
    item = f'string.format("i%06d", math.random(1, {rows}))'
    category = f'"c" .. math.random(0, {CATEGORIES - 1})'
    made = f"[=[{json.dumps(BODY)}]=]"
    changed = '\'{"quantity": \' .. math.random(1, 1e9) .. "}"'
    where = f'"/api/item?$filter=category%20eq%20%27" .. {category} .. "%27&$orderby=id&$top='
    group = (
        f'\'{{"where": {{"category": "\' .. {category} .. \'"}}, "groupBy": ["status"], '
        '"aggregations": [{"function": "count", "alias": "n"}, '
        '{"function": "avg", "field": "price", "alias": "mean"}]}\''
    )
    return [
        Scenario(
            "get",
            lua("GET", f'"/api/item/" .. {item}', headers=auth),
            lua("GET", f'"/item/" .. {item}'),
            1.2,
        ),
        Scenario(
            "list of 20",
            lua("GET", where + '20"', headers=auth),
            lua("GET", f'"/item?limit=20&category=" .. {category}'),
            1.8,
        ),
        Scenario(
            "list of 100",
            lua("GET", where + '100"', headers=auth),
            lua("GET", f'"/item?limit=100&category=" .. {category}'),
            2.0,
        ),
        Scenario(
            "create", lua("POST", '"/api/item"', made, keyed), lua("POST", '"/item"', made), 0.9
        ),
        Scenario(
            "create, no key",
            lua("POST", '"/api/item"', made, auth),
            lua("POST", '"/item"', made),
            0.9,
        ),
        Scenario(
            "update",
            lua("PATCH", f'"/api/item/" .. {item}', changed, keyed),
            lua("PATCH", f'"/item/" .. {item}', changed),
            0.9,
        ),
        Scenario(
            "aggregate",
            lua("POST", '"/api/item/aggregate"', group, auth),
            lua("GET", f'"/groups?category=" .. {category}'),
            1.0,
        ),
    ]


class Answer(NamedTuple):
    """What wrk measured."""

    rate: float
    p99_ms: float
    requests: int


def wrk(url: str, script: str, seconds: int) -> Answer:
    """Ask for so long.

    Raises:
        RuntimeError: an answer was an error, so the figure would mean nothing.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = [
            *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"),
            *("-s", file.name, url),
        ]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    requests = re.search(r"(\d+) requests in", text)
    if "Non-2xx" in text or "Socket errors" in text or not (rate and p99 and requests):
        raise RuntimeError(f"errors from {url}:\n{text}")
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}[p99[2]]
    return Answer(float(rate[1]), float(p99[1]) * scale, int(requests[1]))


@contextlib.contextmanager
def cluster(folder: str, rows: int = ROWS) -> Generator[Cluster]:
    """One kernel and one gateway over a full table."""
    running = Cluster(
        root=Path(folder), ports="free", kernels=1, metadata=[HERE / "metadata"], ephemeral=True
    )
    with running:
        asyncio.run(seed(running.env["OQL_PG_URL"], rows))
        yield running


@contextlib.contextmanager
def baseline(pg_url: str) -> Generator[tuple[str, int]]:
    """URL and process of the hand-written service: one worker, as there is one kernel."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "--app-dir", str(HERE.parent), "bench.baseline:app"),
        *("--port", str(port), "--loop", "uvloop", "--http", "httptools", "--no-access-log"),
        *("--log-level", "warning"),
    ]
    process = subprocess.Popen(command, env={"BASELINE_PG_URL": pg_url, "PATH": "/usr/bin:/bin"})
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/item?category=c1&limit=1").read()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the baseline did not start")
            time.sleep(0.05)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(10)


async def seed(pg_url: str, rows: int) -> None:
    """Fill the table."""
    connection = await asyncpg.connect(pg_url)
    try:
        await connection.execute(SEED.format(rows=rows, categories=CATEGORIES))
    finally:
        await connection.close()


@dataclass(frozen=True)
class Load:
    """How long wrk asks."""

    rounds: int = 5
    seconds: int = 2
    warm_up: int = 1


def measure(env: Mapping[str, str], running: Cluster, load: Load, rows: int) -> list[Scenario]:
    """Run everything in turn; the scenarios with their figures."""
    found = scenarios(env["OQL_ADMIN_TOKEN"], rows)
    with baseline(env["OQL_PG_URL"]) as (base_url, base_pid):
        shared = processes.tree(running.pid("postgres"))
        ours = [running.pid(name) for name in ("gateway-rest-1", "kernel-1", "nats")]
        for scenario in found:
            sides = (
                ("ours", env["OQL_REST_URL"], scenario.ours, ours),
                ("baseline", base_url, scenario.baseline, [base_pid]),
            )
            for _, url, script, _ in sides:
                wrk(url, script, load.warm_up)
            for _ in range(load.rounds):
                for side, url, script, pids in sides:
                    before = processes.cpu_s(pids) + processes.cpu_s(shared())
                    answer = wrk(url, script, load.seconds)
                    spent = processes.cpu_s(pids) + processes.cpu_s(shared()) - before
                    scenario.rates[side].append(answer.rate)
                    scenario.p99[side].append(answer.p99_ms)
                    scenario.cpu[side].append(spent / answer.requests)
            print(f"{scenario.name} measured", flush=True)
    return found


HEADER = (
    "request",
    "ours req/s",
    "base req/s",
    "ratio",
    "goal",
    "met",
    "ours p99 ms",
    "base p99 ms",
    "ours CPU µs",
    "base CPU µs",
)


def cells(scenario: Scenario) -> tuple[str, ...]:
    """One line of the table."""
    p99, cpu = scenario.medians(scenario.p99), scenario.medians(scenario.cpu)
    ours, base = scenario.medians(scenario.rates)
    return (
        scenario.name,
        f"{ours:,.0f}",
        f"{base:,.0f}",
        f"{ours / base:.2f}",
        f"{scenario.goal:.1f}",
        "yes" if ours / base >= scenario.goal else "NO",
        *(f"{value:.1f}" for value in p99),
        *(f"{value * 1e6:,.0f}" for value in cpu),
    )


def main(running: Cluster, load: Load, *, rows: int = ROWS) -> list[dict[str, object]]:
    """Print the table; its rows as data."""
    found = measure(running.env, running, load, rows)
    print("\n" + table(HEADER, [cells(scenario) for scenario in found]), flush=True)
    return [
        {
            "request": scenario.name,
            "ratio": scenario.medians(scenario.rates)[0] / scenario.medians(scenario.rates)[1],
            "goal": scenario.goal,
            "requests_per_s": scenario.rates,
            "p99_ms": scenario.p99,
            "cpu_s_per_request": scenario.cpu,
        }
        for scenario in found
    ]
