"""Many random cases: one number names a schema, some data sets and the queries over them."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from random import Random
from typing import NamedTuple

import msgspec

from objectql.query.ast import Filter, Query
from objectql.testing.oracle.contents import random_rows
from objectql.testing.oracle.filters import World
from objectql.testing.oracle.policies import RowRules
from objectql.testing.oracle.queries import random_query, row_rules, with_other_literals
from objectql.testing.oracle.schemas import random_schema
from objectql.testing.oracle.shrinking import SmallCase, shrink
from objectql.values import Record
from tests.oracle.checking import Difference, Setting, check
from tests.oracle.databases import Database, Postgres, Sqlite
from tests.oracle.statements import StatementProof

DATA_SETS = 5
SHAPES_PER_SET = 10
LITERALS_PER_SHAPE = 4
QUERIES_PER_SEED = DATA_SETS * SHAPES_PER_SET * LITERALS_PER_SHAPE
_CONNECTIONS = 3
_PLAIN_EVERY = 10


class Tally(NamedTuple):
    """What a seed came to."""

    seed: int
    answered: int
    refused: int
    statements: int


class DataSet(NamedTuple):
    """Records of one tenant, the callers' row rules, and what is asked of them."""

    world: World
    tenant: str
    rules: dict[str, Filter]
    queries: Sequence[Query]


def data_sets(seed: int) -> Iterator[DataSet]:
    """The data sets of a seed, all of one schema."""
    rng = Random(seed)
    schema = random_schema(rng)
    names = [object_.name for object_ in schema.objects]
    for number in range(DATA_SETS):
        world = World(schema, random_rows(rng, schema, names))
        rules = row_rules(rng, world) if rng.random() < 0.4 else {}
        yield DataSet(world, f"tenant{number}", rules, list(_random_queries(rng, world)))


def _random_queries(rng: Random, world: World) -> Iterator[Query]:
    for _ in range(SHAPES_PER_SET):
        query = random_query(rng, world)
        yield query
        for _ in range(LITERALS_PER_SHAPE - 1):
            yield with_other_literals(rng, world, query)


class Runner:
    """Runs seeds one after the other on both databases."""

    def __init__(self, sqlite: Sqlite, postgres: Postgres) -> None:
        self._databases: tuple[Database, ...] = (sqlite, postgres)
        self._tenants = (f"shrunk{number}" for number in itertools.count())

    async def run(self, seed: int) -> Tally:
        """Check all cases of `seed`.

        Raises:
            Difference: with the schema, the data, the query and both answers, made small.

        """
        sets = list(data_sets(seed))
        schema = sets[0].world.schema
        for database in self._databases:
            await database.make(schema.objects)
        proof = StatementProof(schema.objects)
        answered = 0
        for data in sets:
            for database in self._databases:
                await database.load(schema.objects, data.tenant, data.world.rows)
        for data in sets:
            answered += await self._run_set(seed, data, proof)
        refused = QUERIES_PER_SEED - answered
        return Tally(seed, answered, refused, proof.checked)

    async def _run_set(self, seed: int, data: DataSet, proof: StatementProof) -> int:
        setting = self._setting(data.world, data.tenant, data.world.rows, data.rules, proof.check)
        todo = iter(enumerate(data.queries))
        answered = 0
        failures: list[tuple[Query, AssertionError]] = []

        async def work() -> None:
            nonlocal answered
            for index, query in todo:
                try:
                    is_answered = await check(query, setting, also_plain=index % _PLAIN_EVERY == 0)
                    answered += is_answered
                except AssertionError as difference:
                    failures.append((query, difference))
                if failures:
                    return

        await asyncio.gather(*(work() for _ in range(_CONNECTIONS)))
        if failures:
            raise await self._explained(seed, data, *failures[0])
        return answered

    def _setting(
        self,
        world: World,
        tenant: str,
        rows: dict[str, list[Record]],
        rules: dict[str, Filter],
        seen: Callable[[str], None],
    ) -> Setting:
        return Setting(world.schema, tenant, rows, RowRules(rules), self._databases, seen, {}, {})

    async def _explained(
        self, seed: int, data: DataSet, query: Query, difference: AssertionError
    ) -> Difference:
        """The difference told on the smallest case that shows one."""
        case = SmallCase(data.world.rows, query, data.rules)
        found = str(difference)
        steps = shrink(case, data.world)
        candidate = next(steps, None)
        while candidate is not None:
            message = await self._failure(data.world, candidate)
            if message is not None:
                case, found = candidate, message
            try:
                candidate = steps.send(message is not None)
            except StopIteration:
                break
        return Difference(_report(seed, data.world, case, found))

    async def _failure(self, world: World, case: SmallCase) -> str | None:
        tenant = next(self._tenants)
        for database in self._databases:
            await database.load(world.schema.objects, tenant, case.rows)
        proof = StatementProof(world.schema.objects)
        setting = self._setting(world, tenant, case.rows, dict(case.rules), proof.check)
        try:
            await check(case.query, setting, also_plain=True)
        except AssertionError as difference:
            return str(difference)
        return None


def _report(seed: int, world: World, case: SmallCase, found: str) -> str:
    objects = [
        f"  {o.name}: "
        + ", ".join(
            f"{f.name} {f.type}"
            + (f" -> {f.reference}" if f.reference else "")
            + ("[]" if f.multiple else "")
            + (f" scale {f.scale}" if f.scale is not None else "")
            for f in o.stored_fields
            if not f.system or f.name == "deleted_at"
        )
        for o in world.schema.objects
    ]
    records = [
        f"  {name}: { {key: value for key, value in record.items() if value is not None} }"
        for name, every in case.rows.items()
        for record in every
    ]
    return "\n".join(
        [
            f"seed {seed} (make oracle SEED={seed} QUERIES=1 runs it again), made small:",
            *("schema:", *objects, "records:", *records),
            *(f"rule for {name}: {rule}" for name, rule in case.rules.items()),
            f"query: {msgspec.json.encode(case.query).decode()}",
            found,
        ]
    )


# --- many seeds on many processes -----------------------------------------------------------------


async def _run_seeds(url: str, seeds: Sequence[int]) -> list[Tally]:
    sqlite = Sqlite()
    postgres = await Postgres.connect(url, f"oracle{os.getpid()}", _CONNECTIONS)
    try:
        runner = Runner(sqlite, postgres)
        return [await runner.run(seed) for seed in seeds]
    finally:
        sqlite.close()
        await postgres.close()


def run_seeds(url: str, seeds: Sequence[int]) -> list[Tally]:
    """Check all cases of `seeds` on the Postgres at `url` and on SQLite.

    Raises:
        Difference: see `Runner.run`.

    """
    return asyncio.run(_run_seeds(url, seeds))


def run_queries(
    url: str,
    first_seed: int,
    queries: int,
    *,
    processes: int = 2,
    report: Callable[[Tally], None] = lambda _: None,
) -> list[Tally]:
    """Check at least `queries` cases, beginning with `first_seed`, each seed told to `report`.

    Raises:
        Difference: see `Runner.run`.

    """
    seeds = range(first_seed, first_seed - (-queries // QUERIES_PER_SEED))
    chunks = [seeds[at : at + 5] for at in range(0, len(seeds), 5)]
    done: list[Tally] = []
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(run_seeds, url, chunk) for chunk in chunks]
        try:
            for future in as_completed(futures):
                for tally in future.result():
                    done.append(tally)
                    report(tally)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return done
