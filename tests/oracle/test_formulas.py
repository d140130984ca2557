"""`evaluate == sqlite == postgres` for random formulas of every function."""

from __future__ import annotations

import asyncio

import pytest

from objectql.drivers.sql.formulas_postgres import TEMPLATES
from objectql.formula.functions import FUNCTIONS
from tests.oracle.databases import Postgres, Sqlite
from tests.oracle.formulas import check_formulas

WITHOUT_TEMPLATE = {"greatest", "least", "concatenate", "join_filled", "power"}


def test_every_function_that_databases_have_is_one_of_postgres() -> None:
    portable = {name for name, function in FUNCTIONS.items() if function.is_portable}
    assert set(TEMPLATES) | WITHOUT_TEMPLATE == portable


@pytest.mark.parametrize("seed", range(4))
async def test_sqlite_computes_what_python_does(seed: int) -> None:
    database = Sqlite()
    try:
        assert await check_formulas(database, seed, count=50, depth=4) > 1000
    finally:
        database.close()


@pytest.mark.servers
def test_postgres_computes_what_python_does(postgres_url: str) -> None:
    async def run() -> int:
        database = await Postgres.connect(postgres_url, "formulas", 1)
        try:
            return sum([await check_formulas(database, seed, 100, 4) for seed in range(5)])
        finally:
            await database.close()

    assert asyncio.run(run()) > 10_000
