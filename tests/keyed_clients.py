"""Clients that write with a key until they are told that it is done, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from objectql_devstack.cluster import Cluster
from tests.clusters import body, client, eventually

WRITERS = 4


class KeyedClients:
    """Writers with keys that repeat until they are told, and a reader; what they were told."""

    def __init__(self, cluster: Cluster, mark: str) -> None:
        self._cluster = cluster
        self._mark = mark
        self._stop = asyncio.Event()
        self.written: dict[str, str] = {}
        self.reads: Counter[int] = Counter()

    @asynccontextmanager
    async def at_work(self) -> AsyncGenerator[None]:
        async with asyncio.TaskGroup() as tasks:
            for number in range(WRITERS):
                tasks.create_task(self._write(number))
            tasks.create_task(self._read())
            try:
                yield
            finally:
                self._stop.set()

    async def grow(self, by: int) -> None:
        """Return when so many more writes are answered."""
        wanted = len(self.written) + by

        async def have() -> bool:
            return len(self.written) >= wanted

        await eventually(have, within_s=60, what="writes being answered")

    async def stored(self) -> list[dict[str, Any]]:
        """The records of these writers."""
        asked = {"$filter": f"startswith(name,'{self._mark}-')", "$top": 1000, "$select": "name"}
        async with client(self._cluster.env) as http:
            http.headers["Oql-Read-Policy"] = "primary"
            return (await http.get("/api/account", params=asked)).json()["items"]

    async def _write(self, writer: int) -> None:
        number = 0
        async with client(self._cluster.env) as http:
            while not self._stop.is_set():
                name, number = f"{self._mark}-{writer}-{number}", number + 1
                self.written[name] = await _create(http, name)

    async def _read(self) -> None:
        async with client(self._cluster.env) as http:
            while not self._stop.is_set():
                self.reads[(await http.get("/api/account/acme")).status_code] += 1


async def _create(http: httpx.AsyncClient, name: str) -> str:
    """The id of a new record, of which there is one however often it was asked for."""
    async with asyncio.timeout(60):
        while True:
            answer = await http.post(
                "/api/account", content=body({"name": name}), headers={"Idempotency-Key": name}
            )
            if answer.status_code == 201:
                return answer.json()["id"]
            assert answer.status_code in {503, 504}, answer.text


def names_of(events: list[dict[str, Any]]) -> Counter[str]:
    return Counter(event["data"]["name"] for event in events)
