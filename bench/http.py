"""HTTP benchmarks: this system and the hand-written baseline on one table, in turn, in one run.

Load comes from wrk at 32 connections. Every scenario is warmed up, then measured in rounds that
alternate between the contestants; medians and their ratio are what counts.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from objectql_devstack.cluster import Cluster
from objectql_devstack.ports import free_port

HERE = Path(__file__).parent
ROWS = 100_000
CATEGORIES = 500
CONNECTIONS = 32
SEED = f"""
    INSERT INTO item (tenant_id, id, created_at, created_by, updated_at, updated_by, version,
        name, category, status, quantity, price, rating, active, notes, due_on, seen_at)
    SELECT 'default', 'i' || lpad(n::text, 6, '0'), now(), 'bench', now(), 'bench', 1,
        'Item ' || n, 'c' || n % {CATEGORIES}, (ARRAY['new', 'open', 'done'])[n % 3 + 1], n % 1000,
        (n % 10000) / 100.0, n % 50 / 10.0, n % 2 = 0, repeat('note ', n % 10),
        date '2026-01-01' + n % 365, timestamptz '2026-01-01' + n * interval '1 minute'
    FROM generate_series(1, {ROWS}) AS n;
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


def scenarios(token: str) -> list[Scenario]:
    """Design §8's list for what exists."""
    auth = f'["Authorization"] = "Bearer {token}"'
    keyed = auth + ', ["Idempotency-Key"] = "k" .. os.time() .. "-" .. math.random(1, 1e15)'
    item = f'string.format("i%06d", math.random(1, {ROWS}))'
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


def wrk(url: str, script: str, seconds: int) -> tuple[float, float]:
    """Requests per second and the 99th percentile in milliseconds.

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
    if "Non-2xx" in text:
        raise RuntimeError(f"errors from {url}:\n{text}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    if found is None:
        raise RuntimeError(f"wrk said:\n{text}")
    rate = float(found[1])
    match = re.search(r"99%\s+([\d.]+)(us|ms|s)", text)
    scale = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    return rate, float(match[1]) * scale[match[2]] if match else 0.0


@contextlib.contextmanager
def baseline(pg_url: str) -> Generator[str]:
    """The hand-written service, one worker as the system has one kernel and one gateway."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "--app-dir", str(HERE), "baseline:app"),
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
        yield url
    finally:
        process.terminate()
        process.wait(10)


async def seed(pg_url: str) -> None:
    """Fill the table."""
    connection = await asyncpg.connect(pg_url)
    try:
        await connection.execute(SEED)
    finally:
        await connection.close()


def measure(rounds: int, seconds: int) -> list[Scenario]:
    """Run everything; the scenarios with their figures."""
    if shutil.which("wrk") is None:
        raise SystemExit("the benchmark needs wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="oql-bench-") as folder:
        cluster = Cluster(
            root=Path(folder), ports="free", kernels=1, metadata=[HERE / "metadata"], ephemeral=True
        )
        with cluster:
            env = cluster.env
            asyncio.run(seed(env["OQL_PG_URL"]))
            with baseline(env["OQL_PG_URL"]) as base_url:
                found = scenarios(env["OQL_ADMIN_TOKEN"])
                for scenario in found:
                    sides = (
                        ("ours", env["OQL_REST_URL"], scenario.ours),
                        ("baseline", base_url, scenario.baseline),
                    )
                    for _, url, script in sides:
                        wrk(url, script, 2)
                    for _ in range(rounds):
                        for side, url, script in sides:
                            rate, p99 = wrk(url, script, seconds)
                            scenario.rates[side].append(rate)
                            scenario.p99[side].append(p99)
                    print(row(scenario), flush=True)
    return found


def row(scenario: Scenario) -> str:
    """One line of the table."""
    ours, base = (statistics.median(scenario.rates[side]) for side in ("ours", "baseline"))
    p_ours, p_base = (statistics.median(scenario.p99[side]) for side in ("ours", "baseline"))
    return (
        f"| {scenario.name:12} | {ours:10,.0f} | {base:10,.0f} | {ours / base:6.2f} | {scenario.goal:4.1f} "
        f"| {p_ours:8.1f} | {p_base:8.1f} |"
    )


HEADER = (
    "| request      | ours req/s | base req/s |  ratio | goal | p99 ours | p99 base |\n"
    "|--------------|-----------:|-----------:|-------:|-----:|---------:|---------:|"
)


def main(rounds: int = 3, seconds: int = 4) -> list[dict[str, object]]:
    """Print the table; its rows as data."""
    print(HEADER, flush=True)
    return [
        {
            "request": scenario.name,
            "ours": scenario.rates["ours"],
            "baseline": scenario.rates["baseline"],
            "ratio": statistics.median(scenario.rates["ours"])
            / statistics.median(scenario.rates["baseline"]),
            "goal": scenario.goal,
            "p99_ms": scenario.p99,
        }
        for scenario in measure(rounds, seconds)
    ]


if __name__ == "__main__":
    main()
