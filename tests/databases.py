"""Databases that tests have made for themselves on a Postgres of theirs."""

from __future__ import annotations

import asyncpg  # noqa: TID251 - drops databases of the tests


async def drop_database(url: str) -> None:
    """Drop the database of `url`, and those that it has beside it for single tenants.

    Hundreds of tests have one each, and their server may keep them in memory.
    """
    head, _, name = url.rpartition("/")
    admin = await asyncpg.connect(f"{head}/postgres")
    try:
        own = await admin.fetch(
            "SELECT datname FROM pg_database WHERE datname = $1 OR starts_with(datname, $1 || '~')",
            name,
        )
        for row in own:
            await admin.execute(f'DROP DATABASE "{row[0]}" WITH (FORCE)')
    finally:
        await admin.close()
