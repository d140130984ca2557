"""How long parts of transactions stay prepared although everything is there that could end them.

The databases are asked past the cluster. A part's time counts while its database is reached by
kernels, and NATS, a kernel and a leader are up: a fault may keep a part waiting for as long as it
lasts, and the cluster is judged by the time that it takes afterwards.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection

import asyncpg  # noqa: TID251 - looks at what is prepared
import httpx

from objectql.txn.names import parse_part_name
from tests.bank.bed import Bed
from tests.clusters import eventually

_LOOK_EVERY_S = 0.2
_ASK_WITHIN_S = 1.0

_LISTED = "SELECT gid FROM pg_prepared_xacts"


class Doubts:
    """Looks until cancelled; `busy` tells the targets of the faults that last."""

    def __init__(self, bed: Bed, busy: Callable[[], Collection[str]]) -> None:
        self._bed = bed
        self._busy = busy
        self._waited_s: dict[str, float] = defaultdict(float)

    @property
    def waited_s(self) -> list[float]:
        """The time of every part that was ever found, sorted; most are prepared for too short."""
        return sorted(self._waited_s.values())

    async def run(self) -> None:
        """Look regularly."""
        loop = asyncio.get_running_loop()
        looked_s = loop.time()
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            names = await self._prepared() or []
            leads = bool(names) and await self._leader() is not None
            passed_s, looked_s = loop.time() - looked_s, loop.time()
            for name in names:
                self._waited_s[name] += passed_s if leads and self._is_reached(name) else 0.0

    async def over(self, *, within_s: float) -> None:
        """Return when nothing is prepared, and the leader knows of nothing in doubt."""

        async def is_over() -> bool:
            leader = await self._leader()
            return (
                leader is not None
                and leader["oql_transactions_in_doubt"] == 0
                and await self._prepared() == []
            )

        await eventually(is_over, within_s=within_s, what="nothing being in doubt")

    async def _prepared(self) -> list[str] | None:
        """The names of all parts; None: the server does not tell."""
        url = self._bed.cluster.data.pg_database_url("east")
        try:
            async with asyncio.timeout(_ASK_WITHIN_S):
                connection = await asyncpg.connect(url)
                try:
                    return [row[0] for row in await connection.fetch(_LISTED)]
                finally:
                    connection.terminate()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return None

    def _is_reached(self, name: str) -> bool:
        part, busy = parse_part_name(name), set(self._busy())
        kernels = {process for process in self._bed.cluster.names if process.startswith("kernel")}
        needed = {"postgres-1", "nats-1", "" if part is None else str(part.source)}
        return busy.isdisjoint(needed) and not kernels <= busy

    async def _leader(self) -> dict[str, float] | None:
        """The gauges of the coordinator that leads."""
        cluster = self._bed.cluster
        names = [n for n in cluster.names if n.startswith("coordinator") and n not in self._busy()]
        async with httpx.AsyncClient(timeout=_ASK_WITHIN_S) as http:
            pages = await asyncio.gather(
                *(
                    http.get(
                        f"http://127.0.0.1:{cluster.state.known_port(f'{name}/admin')}/metrics"
                    )
                    for name in names
                ),
                return_exceptions=True,
            )
        found = (gauges(page.text) for page in pages if isinstance(page, httpx.Response))
        return next((page for page in found if page.get("oql_leader")), None)


def gauges(page: str) -> dict[str, float]:
    """The values without labels of a page of metrics."""
    lines = (line.split() for line in page.splitlines() if not line.startswith("#"))
    return {words[0]: float(words[1]) for words in lines if len(words) == 2 and "{" not in words[0]}
