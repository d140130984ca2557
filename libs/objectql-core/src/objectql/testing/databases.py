"""Databases that tests make on one Postgres server."""

from __future__ import annotations

import asyncpg  # noqa: TID251 - no driver drops the database it is connected to


async def drop_database(url: str) -> None:
    """Drop the database of `url` with those that tenants have beside it, whoever uses them.

    What is dropped at once need never reach the disk. Hundreds of databases that are left to the
    end of a session take minutes to delete there.
    """
    server, _, name = url.rpartition("/")
    admin = await asyncpg.connect(f"{server}/postgres")
    try:
        found = await admin.fetch(
            "SELECT datname FROM pg_database WHERE datname = $1 OR starts_with(datname, $2)",
            name,
            f"{name}~",
        )
        for [each] in found:
            await admin.execute(f'DROP DATABASE "{each}" WITH (FORCE)')
    finally:
        await admin.close()
