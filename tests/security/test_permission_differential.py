"""What a caller sees and may change is the same at every door: 100,000 decisions, and more by hand.

`make permissions CASES=1000000` goes on for as long as one likes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from objectql.drivers.memory import MemoryDriver
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.drivers.sql.sqlite import SqliteDriver, SqliteSettings
from objectql_devstack import DataStack
from tests.security.differential import prove

pytestmark = pytest.mark.timeout(600)
SEEDS_APART = 100_000


@pytest.mark.parametrize("part", range(4))
async def test_every_door_decides_like_the_judge(part: int) -> None:
    await prove(MemoryDriver(), 25_000, part * SEEDS_APART)


async def test_every_door_decides_like_the_judge_on_sqlite(tmp_path: Path) -> None:
    driver = SqliteDriver(SqliteSettings(str(tmp_path / "proof.db")))
    await prove(driver, 12_000, 10 * SEEDS_APART)


@pytest.mark.servers
async def test_every_door_decides_like_the_judge_on_postgres(tmp_path: Path) -> None:
    with DataStack.start(tmp_path, {"postgres"}) as stack:
        await prove(PostgresDriver(PostgresSettings(stack.pg_url)), 10_000, 20 * SEEDS_APART)
