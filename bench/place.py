"""Where the contestants run: one cluster and one hand-written service on the same tables.

The cluster has no replica, so that both contestants read from the same Postgres; everything else is
as shipped: permissions, telemetry, outbox, coordinators beside it.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from bench.model import HERE, Process
from bench.processes import memory_mb
from objectql_devstack.cluster import Cluster
from objectql_devstack.ports import free_port

ROWS = 100_000
CATEGORIES = 500
CUSTOMERS = 1_000
REGIONS = 200
SALES_EACH = 50
METADATA = HERE / "metadata"
ITEMS = """
    INSERT INTO {table} (tenant_id, id, created_at, created_by, updated_at, updated_by, version,
        name, category, status, quantity, price, rating, active, notes, due_on, seen_at)
    SELECT 'default', 'i' || lpad(n::text, 6, '0'), now(), 'bench', now(), 'bench', 1,
        'Item ' || n, 'c' || n % {categories}, (ARRAY['new', 'open', 'done'])[n % 3 + 1], n % 1000,
        (n % 10000) / 100.0, n % 50 / 10.0, n % 2 = 0, repeat('note ', n % 10),
        date '2026-01-01' + n % 365, timestamptz '2026-01-01' + n * interval '1 minute'
    FROM generate_series(1, {rows}) AS n;
    ANALYZE {table};
"""
SALES = """
    INSERT INTO customer (tenant_id, id, created_at, created_by, updated_at, updated_by, version,
        name, email, city)
    SELECT 'default', 'p' || lpad(n::text, 6, '0'), now(), 'bench', now(), 'bench', 1,
        'Customer ' || n, 'c' || n || '@example.com', 'City ' || n % 50
    FROM generate_series(1, {customers}) AS n;
    INSERT INTO sale (tenant_id, id, created_at, created_by, updated_at, updated_by, version,
        region, amount, customer, item)
    SELECT 'default', 's' || lpad(n::text, 6, '0'), now(), 'bench', now(), 'bench', 1,
        'r' || n % {regions}, n % 997 / 10.0,
        'p' || lpad((n % {customers} + 1)::text, 6, '0'),
        'i' || lpad((n * 7 % {items} + 1)::text, 6, '0')
    FROM generate_series(1, {regions} * {each}) AS n;
    ANALYZE customer;
    ANALYZE sale;
"""


@dataclass(frozen=True)
class Setup:
    """How the cluster is to be; `cached` switches the shared result cache on."""

    kernels: int = 1
    cached: bool = False
    metadata: Sequence[Path] = (METADATA,)
    env: Mapping[str, Mapping[str, str]] = field(default_factory=dict[str, Mapping[str, str]])


class Place:
    """A cluster in `folder` that can be set up anew while it runs; data stay."""

    def __init__(self, folder: Path) -> None:
        self.setup = Setup()
        self._folder = folder
        self._running: Cluster | None = None

    @property
    def cluster(self) -> Cluster:
        """What runs."""
        assert self._running is not None, "not set up"
        return self._running

    @property
    def url(self) -> str:
        """Where the gateway serves."""
        return self.cluster.env["OQL_REST_URL"]

    @property
    def pg_url(self) -> str:
        return self.cluster.env["OQL_PG_URL"]

    @property
    def token(self) -> str:
        return self.cluster.env["OQL_ADMIN_TOKEN"]

    def bring_about(self, setup: Setup) -> None:
        """Start, restart and stop what is needed for `setup`, and nothing else."""
        data = {"nats", "postgres", "zookeeper"} | ({"redis"} if setup.cached else set[str]())
        self._running = Cluster(
            root=self._folder,
            ports="free",
            kernels=setup.kernels,
            metadata=setup.metadata,
            need=frozenset(data),
            extra_env=setup.env,
            ephemeral=True,
        ).start()
        self.setup = setup

    def stop(self) -> None:
        """Stop everything and remove the data."""
        if self._running is not None:
            self._running.stop()

    def serving(self) -> dict[str, int]:
        """The processes that take part in a request, by name."""
        kernels = [f"kernel-{n}" for n in range(1, self.setup.kernels + 1)]
        names = ["gateway-rest-1", "nats", *kernels, "postgres"]
        if self.setup.cached:
            names.append("redis")
        return {name: self.cluster.pid(name) for name in names}

    def memory(self, when: str) -> list[Process]:
        """What each serving process takes now."""
        return [Process(name, when, *memory_mb(pid)) for name, pid in self.serving().items()]

    def run_sql(self, statement: str) -> None:
        """Something that is no business of the API, such as filling a table."""

        async def run() -> None:
            connection = await asyncpg.connect(self.pg_url)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(run())

    def fill_items(self, rows: int, table: str = "item", categories: int = CATEGORIES) -> None:
        """Numbered records, `rows / categories` of each category."""
        self.run_sql(ITEMS.format(table=table, rows=rows, categories=categories))

    def fill_sales(self, items: int) -> None:
        """Customers, and sales that point to them and to items."""
        told = {"customers": CUSTOMERS, "regions": REGIONS, "each": SALES_EACH, "items": items}
        self.run_sql(SALES.format(**told))


@contextlib.contextmanager
def place(setup: Setup | None = None) -> Generator[Place]:
    """A cluster in a folder of its own; gone at the end, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="oql-bench-") as folder:
        found = Place(Path(folder))
        found.bring_about(setup or Setup())
        try:
            yield found
        finally:
            found.stop()


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
