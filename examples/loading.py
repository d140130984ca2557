"""Loading an example's records through the cluster's own bulk API.

A record that is there already is left as it is, so a loader may be run again at any time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import typer

Row = dict[str, Any]

CHUNK = 1000


class LoadFailed(Exception):
    """The cluster refused rows that should be right; the text says which and why."""


def chunks(records: Iterable[Row]) -> Iterator[list[Row]]:
    """Lists of at most `CHUNK` records, in order."""
    iterator = iter(records)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


async def count(client: httpx.AsyncClient, name: str) -> int:
    """How many records of the object the cluster holds."""
    answer = await client.get(f"/api/{name}", params={"$top": 0, "$count": "true"})
    answer.raise_for_status()
    return int(answer.json()["meta"]["total"])


async def send(client: httpx.AsyncClient, name: str, chunk: list[Row]) -> None:
    """Create the records of `chunk` that do not exist yet.

    Raises:
        LoadFailed: a row was refused for another reason than being there already.
    """
    body = {
        "operation": "create",
        "records": [{"data": row} for row in chunk],
        "continue_on_error": True,
        "return_records": False,
    }
    answer = await client.post(
        f"/api/{name}/bulk",
        content=json.dumps(body),
        headers={"Idempotency-Key": f"load-{name}-{chunk[0]['id']}-{len(chunk)}"},
    )
    if answer.status_code != 200:
        raise LoadFailed(f"{name} from {chunk[0]['id']}: {answer.status_code} {answer.text[:500]}")
    for result in answer.json()["results"]:
        error: dict[str, Any] | None = result.get("error")
        if error and error["code"] != "UNIQUE_VIOLATION":
            raise LoadFailed(f"{name} {result.get('id')}: {json.dumps(error)[:500]}")


def read_env(path: Path) -> dict[str, str]:
    """The variables of a `dev.env` file."""
    if not path.exists():
        return {}
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {key: value.strip("'\"") for key, value in pairs}


def run(work: Callable[[httpx.AsyncClient], Awaitable[None]], *, url: str, token: str) -> None:
    """Give `work` a client of the REST gateway at `url`; end the program if it fails."""

    async def connected() -> None:
        async with httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            timeout=60,
        ) as client:
            await work(client)

    try:
        asyncio.run(connected())
    except (LoadFailed, httpx.HTTPError) as exc:
        typer.echo(f"loading stopped: {exc}", err=True)
        raise typer.Exit(1) from exc
