"""Loads the flights through the cluster's own bulk API.

Run again it loads only what is missing: record ids are made from the rows of the data set, and a
record that is there already is left alone.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from examples.flights import rows
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

CHUNK = 1000
IN_FLIGHT = 4


class LoadFailed(Exception):
    """The cluster refused rows that should be right; the text says which and why."""


def chunks(records: Iterable[rows.Row]) -> Iterator[list[rows.Row]]:
    """Lists of at most `CHUNK` records, in order."""
    iterator = iter(records)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


async def count(client: httpx.AsyncClient, name: str) -> int:
    """How many records of the object the cluster holds."""
    answer = await client.get(f"/api/{name}", params={"$top": 0, "$count": "true"})
    answer.raise_for_status()
    return int(answer.json()["meta"]["total"])


async def send(client: httpx.AsyncClient, name: str, chunk: list[rows.Row]) -> None:
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


async def load(client: httpx.AsyncClient, report: Path) -> None:
    """Load every object in an order in which lookups find their targets."""
    dangling = rows.Dangling()
    sources: dict[str, Iterable[rows.Row]] = {
        "airline": rows.airlines(),
        "airport": rows.airports(),
        "plane": rows.planes(),
        "weather": rows.weather(),
        "flight": rows.flights(dangling),
    }
    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns) as progress:
        for name, records in sources.items():
            task = progress.add_task(name, total=rows.COUNTS[name])
            if await count(client, name) >= rows.COUNTS[name]:
                progress.update(task, completed=rows.COUNTS[name])
                continue
            running: set[asyncio.Task[None]] = set()
            for chunk in chunks(records):
                if len(running) >= IN_FLIGHT:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for finished in done:
                        finished.result()
                running.add(asyncio.create_task(send(client, name, chunk)))
                progress.advance(task, len(chunk))
            await asyncio.gather(*running)
    if dangling.rows:
        dangling.write(report)
        for what, number in sorted(dangling.summary().items()):
            typer.echo(f"{number:>8,} flights: {what}")
        typer.echo(f"Row by row in {report}")


def read_env(path: Path) -> dict[str, str]:
    """The variables of a `dev.env` file."""
    if not path.exists():
        return {}
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {key: value.strip("'\"") for key, value in pairs}


def main(
    state: Annotated[Path, typer.Option(help="Folder with dev.env and the report")] = Path(
        ".objectql"
    ),
    url: Annotated[str, typer.Option(envvar="OQL_REST_URL", help="REST gateway")] = "",
    token: Annotated[str, typer.Option(envvar="OQL_ADMIN_TOKEN", help="A token of an admin")] = "",
) -> None:
    """Load 336,776 flights, 1,458 airports, 3,322 planes, 26,115 weather rows and 16 airlines."""
    env = read_env(state / "dev.env")
    url = url or env.get("OQL_REST_URL", "http://127.0.0.1:8080")
    token = token or env.get("OQL_ADMIN_TOKEN", "")

    async def run() -> None:
        async with httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            timeout=60,
        ) as client:
            await load(client, state / "flights-dangling.csv")

    try:
        asyncio.run(run())
    except (LoadFailed, httpx.HTTPError) as exc:
        typer.echo(f"loading stopped: {exc}", err=True)
        raise typer.Exit(1) from exc


if __name__ == "__main__":
    typer.run(main)
