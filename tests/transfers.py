"""Transfers between accounts in two databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg  # noqa: TID251 - looks at what is prepared
import httpx

from objectql_devstack.cluster import Cluster
from tests.clusters import body

BANK = Path(__file__).resolve().parents[1] / "examples" / "bank"
SOURCES = ("east", "west")


async def open_accounts(http: httpx.AsyncClient, name: str, balance: int = 100) -> None:
    """One account called `name` in either database."""
    for source in SOURCES:
        data = {"id": name, "owner": name, "balance": balance}
        answer = await http.post(f"/api/{source}_account", content=body(data))
        assert answer.status_code == 201, answer.text


async def transfer(
    http: httpx.AsyncClient,
    name: str,
    amount: int,
    *,
    key: str | None = None,
    timeout_ms: int = 10_000,
) -> httpx.Response:
    """`amount` from the account in the east to the one in the west."""
    steps = [
        {
            "object": f"{source}_account",
            "action": "update",
            "id": name,
            "data": {"balance": {"$inc": change}},
        }
        for source, change in (("east", -amount), ("west", amount))
    ]
    headers = {"X-Timeout-Ms": str(timeout_ms)}
    if key is not None:
        headers["Idempotency-Key"] = key
    return await http.post("/api/batch", content=body({"operations": steps}), headers=headers)


async def balances(http: httpx.AsyncClient, name: str) -> tuple[int, int]:
    """What lies on the accounts called `name`, in the east and in the west."""
    found: list[int] = []
    for source in SOURCES:
        answer = await http.get(f"/api/{source}_account/{name}")
        answer.raise_for_status()
        found.append(answer.json()["balance"])
    return found[0], found[1]


async def prepared(cluster: Cluster) -> list[str]:
    """The names of all prepared transactions of the server."""
    rows = await ask_database(cluster, "east", "SELECT gid FROM pg_prepared_xacts ORDER BY gid")
    return [str(row[0]) for row in rows]


async def ask_database(cluster: Cluster, database: str, text: str, *args: Any) -> list[Any]:
    """The rows of a statement that is run past the cluster."""
    connection = await asyncpg.connect(cluster.data.pg_database_url(database))
    try:
        return list(await connection.fetch(text, *args))
    finally:
        await connection.close()
