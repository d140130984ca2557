"""Loads the flights through the cluster's own bulk API.

Run again it loads only what is missing: record ids are made from the rows of the data set, and a
record that is there already is left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import httpx
import typer
from examples.flights import rows
from examples.loading import chunks, count, read_env, run, send
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

IN_FLIGHT = 4


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

    run(lambda client: load(client, state / "flights-dangling.csv"), url=url, token=token)


if __name__ == "__main__":
    typer.run(main)
