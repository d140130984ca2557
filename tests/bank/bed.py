"""A cluster with the bank, whose databases are reached over wires that can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg  # noqa: TID251 - who holds a lease is in the store
import httpx
from examples.bank.load import SIDES, load

from objectql_devstack.cluster import Cluster
from tests.clusters import BANK, CRM, client
from tests.postgres_proxies import PostgresProxy

SOURCES = {"east_account": "east", "west_account": "west"}


class Bed:
    """The cluster, and the wire from the kernels to each database of the bank."""

    def __init__(self, cluster: Cluster, wires: dict[str, PostgresProxy]) -> None:
        self.cluster = cluster
        self.wires = wires
        # Starting a process blocks for seconds; the loop's own threads are too few for many.
        self._threads = ThreadPoolExecutor(32, thread_name_prefix="bed")

    async def do(self, work: Callable[..., object], *names: str) -> None:
        """Call `work` with each of `names`, all at once, outside the loop."""
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(self._threads, work, n) for n in names))

    def client(self) -> httpx.AsyncClient:
        """An administrator's client of the gateway."""
        return client(self.cluster.env)

    async def relay_of(self, source: str) -> str | None:
        """The kernel that holds the relay of a data source."""
        name = "objectql" if source == "default" else source
        connection = await asyncpg.connect(self.cluster.data.pg_database_url(name))
        try:
            return await connection.fetchval(
                "SELECT holder FROM oql_leases WHERE name = $1 AND expires_at > now()",
                f"outbox:{source}",
            )
        finally:
            await connection.close()


@contextmanager
def bank_bed(root: Path, *, kernels: int = 2) -> Generator[Bed]:
    """A cluster in which all accounts are open; with three nodes of ZooKeeper, so that some may die."""
    with ExitStack() as stack:
        wires = {source: stack.enter_context(PostgresProxy()) for source in SOURCES.values()}
        cluster = Cluster(
            root,
            ports="free",
            kernels=kernels,
            metadata=[CRM, BANK],
            databases=("objectql", *wires),
            zookeeper_nodes=3,
            ephemeral=True,
            extra_env={
                "kernel": {
                    f"OQL_KERNEL_DATASOURCES__{source.upper()}": (
                        f"postgresql://postgres@127.0.0.1:{wire.port}/{source}"
                    )
                    for source, wire in wires.items()
                }
            },
        )
        for wire in wires.values():
            wire.target = lambda: cluster.state.known_port("postgres-1")
        stack.enter_context(cluster)
        yield Bed(cluster, wires)


async def open_accounts(bed: Bed) -> None:
    """Open what is missing of the accounts."""
    async with bed.client() as http:
        await load(http)


async def balances(
    http: httpx.AsyncClient, object_: str, headers: Mapping[str, str] | None = None
) -> dict[str, tuple[int, int]]:
    """Balance and version of every account of an object, seen in one statement on the primary."""
    answer = await http.get(
        f"/api/{object_}",
        params={"$top": 1000, "$select": "balance,version"},
        headers={"Oql-Read-Policy": "primary", **(headers or {})},
    )
    answer.raise_for_status()
    return {item["id"]: (item["balance"], item["version"]) for item in answer.json()["items"]}


def object_of(account: str) -> str:
    """The object of an account, by the first letter of its id."""
    return next(name for name, prefix in SIDES.items() if account.startswith(prefix))
