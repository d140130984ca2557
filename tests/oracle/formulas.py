"""Random formulas computed by a database and by `evaluate`, many in one statement."""

from __future__ import annotations

import json
from decimal import Decimal
from random import Random
from typing import Any

import sqlalchemy as sa

from objectql.drivers.sql.dialect import compile_text
from objectql.drivers.sql.encode import kind_of
from objectql.drivers.sql.formulas import lower_formula
from objectql.drivers.sql.fragment import Typed
from objectql.drivers.sql.scope import column_of
from objectql.formula.evaluate import evaluate
from objectql.formula.program import Program
from objectql.ids import FieldName
from objectql.metadata.types import Storage
from objectql.testing.oracle.formulas import (
    SOURCES,
    every_function,
    formula_object,
    random_program,
    random_record,
)
from tests.oracle.databases import Database

TENANT = "t"
RECORDS = 20


async def check_formulas(database: Database, seed: int, count: int, depth: int) -> int:
    """How many values were compared; all were the same.

    Raises:
        AssertionError: with a formula, its record and both values.

    """
    rng, object_ = Random(seed), formula_object()
    rows = [random_record(rng, f"{at:04}") for at in range(RECORDS)]
    await database.make([object_])
    await database.load([object_], TENANT, {object_.name: rows})
    programs = [random_program(rng, rng.randint(1, depth)) for _ in range(count)]
    programs += every_function(rng)
    answers = await _answers(database, programs)
    for row, answer in zip(rows, answers, strict=True):
        values = [row[source.path[0]] for source in SOURCES]
        for at, program in enumerate(programs):
            ours, theirs = evaluate(program, values).value, answer[f"c{at}"]
            same = _read(theirs, program) == ours
            assert same, f"seed {seed}\n{program.root}\n{row}\n{ours!r} != {theirs!r}"
    return len(rows) * len(programs)


async def _answers(database: Database, programs: list[Program]) -> list[dict[str, Any]]:
    dialect, object_ = database.dialect, formula_object()
    fields = [object_.fields[FieldName(source.path[0])] for source in SOURCES]
    inputs = [Typed(column_of("t0", field.column_name), kind_of(field)) for field in fields]
    members = [
        (f"c{at}", dialect.json_value(lower_formula(program, inputs, dialect.formulas)))
        for at, program in enumerate(programs)
    ]
    row = dialect.record_bytes(dialect.json_row(members)).label("row")
    table = sa.table(object_.name).alias("t0")
    text, _ = compile_text(
        sa.select(row).select_from(table).order_by(column_of("t0", "id")), dialect
    )
    found = await database.execute(text, ())
    return [json.loads(each[0], parse_float=Decimal, parse_int=Decimal) for each in found]


def _read(value: Any, program: Program) -> Any:
    is_double = isinstance(value, Decimal) and program.result.storage is Storage.FLOAT
    return float(value) if is_double else value
