"""One case: the oracle's answer beside that of every database, with and without rewriting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from objectql.drivers.sql.dialect_postgres import POSTGRES
from objectql.drivers.sql.lower import LoweredSql, lower
from objectql.errors import ObjectQLError
from objectql.query.ast import Query
from objectql.query.bind import bind
from objectql.query.bound import BoundQuery
from objectql.query.cursor import encode_cursor, page_digest
from objectql.query.interpret import Answer, interpret
from objectql.query.plan import Plan, make_plan, varying_params
from objectql.query.policy import AccessPolicy
from objectql.query.template import extract
from objectql.query.values_in import resolve
from objectql.testing.oracle.comparing import is_same, parse_exactly
from objectql.testing.samples import ACTOR, NOW_MS, SampleSchema
from objectql.values import Record, Value
from tests.oracle.databases import Database, TooDeep

MAX_PAGES = 5
_ZONES = ("UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati")


class Difference(AssertionError):
    """An answer that is not the oracle's."""


class Prepared(NamedTuple):
    """A shape of query: bound, as the planner rewrites it, and both as SQL by dialect."""

    plain: BoundQuery
    plan: Plan
    lowered: dict[str, LoweredSql]
    lowered_plain: dict[str, LoweredSql]


class Setting(NamedTuple):
    """What the queries of a case share. `seen` is told every statement for Postgres."""

    schema: SampleSchema
    tenant: str
    rows: dict[str, list[Record]]
    policy: AccessPolicy
    databases: Sequence[Database]
    seen: Callable[[str], None]
    plans: dict[Query, Prepared]
    """By template, as the kernel keeps them: other literals and further pages share one."""
    asked: dict[int, tuple[Value, ...]]
    """The last parameters of each statement that reads may share."""


def prepare(query: Query, setting: Setting) -> tuple[Prepared, tuple[Value, ...]]:
    """The query's plan with its parameters.

    Raises:
        ObjectQLError: it is refused.

    """
    extracted = extract(query)
    prepared = setting.plans.get(extracted.template)
    if prepared is None:
        plain = bind(extracted.template, setting.schema, setting.policy, places=extracted.places)
        prepared = Prepared(plain, make_plan(plain), {}, {})
        setting.plans[extracted.template] = prepared
    params = resolve(
        prepared.plan.query.params,
        extracted.literals,
        tenant=setting.tenant,
        actor=ACTOR,
        now_ms=NOW_MS,
        timezone=_ZONES[len(extracted.literals) % len(_ZONES)],
        places=extracted.places,
    )
    return prepared, params


async def check(query: Query, setting: Setting, *, also_plain: bool = False) -> bool:
    """Whether the query was answered, everywhere alike; false when it is refused.

    Pages are walked by cursor to the end. `also_plain` runs the query as it is bound, too.

    Raises:
        Difference: some answer is not the oracle's.

    """
    for _ in range(MAX_PAGES):
        try:
            prepared, params = prepare(query, setting)
        except ObjectQLError:
            return False
        want = _ask_oracle(prepared, params, setting)
        for database in setting.databases:
            name = database.dialect.name
            if name not in prepared.lowered:
                prepared.lowered[name] = lower(prepared.plan.query, database.dialect)
            await _check_database(database, prepared.lowered[name], params, want, setting)
            if also_plain:
                if name not in prepared.lowered_plain:
                    prepared.lowered_plain[name] = lower(prepared.plain, database.dialect)
                plain = prepared.lowered_plain[name]
                await _check_database(database, plain, params, want, setting)
        if want.last_key is None:
            return True
        digest = page_digest(extract(query).template)
        key = msgspec.json.Encoder(decimal_format="number").encode(want.last_key)
        query = msgspec.structs.replace(query, after=encode_cursor(digest, key), offset=0)
    return True


def _ask_oracle(prepared: Prepared, params: tuple[Value, ...], setting: Setting) -> Answer:
    def rows_of(object_: Any, _tenant: str) -> list[Record]:
        return setting.rows[object_.name]

    want = interpret(prepared.plain, params, rows_of)
    rewritten = interpret(prepared.plan.query, params, rows_of)
    if want != rewritten:
        raise Difference(f"optimize changed {want}\nto {rewritten}")
    if prepared.plan.is_contradicted(params) and _has_matches(want, prepared.plain):
        raise Difference(f"the plan sees a contradiction, the oracle\n  {want}")
    return want


def _has_matches(want: Answer, query: BoundQuery) -> bool:
    """Whether some record matches; one group over all records is there without any."""
    if query.grouping is not None and not query.grouping.keys:
        return False
    return bool(want.items or want.total)


async def _check_database(
    database: Database,
    lowered: LoweredSql,
    params: tuple[Value, ...],
    want: Answer,
    setting: Setting,
) -> None:
    try:
        [row] = await _run(database, lowered, params, setting)
    except TooDeep:
        return
    items, count, has_next, last_key, total = row
    found = parse_exactly(items)
    if not is_same(list(want.items), found):
        raise _difference(database, lowered, params, want.items, found)
    facts = (count, bool(has_next), total)
    wanted = (len(want.items), want.has_next, want.total)
    if facts != wanted:
        raise _difference(database, lowered, params, wanted, facts)
    position = None if last_key is None else parse_exactly(last_key)
    if not is_same(None if want.last_key is None else list(want.last_key), position):
        raise _difference(database, lowered, params, want.last_key, position)
    if database.dialect is POSTGRES:
        await _check_sharing(database, lowered, params, row, setting)
    bound = lowered.query
    if bound.grouping is None and not bound.distinct and bound.limit == 1:
        record = lowered.record
        rows = await _run(database, record, params, setting)
        first = [parse_exactly(row[0]) for row in rows]
        if not is_same(list(want.items), first):
            raise _difference(database, record, params, want.items, first)


async def _check_sharing(
    database: Database,
    lowered: LoweredSql,
    params: tuple[Value, ...],
    row: Any,
    setting: Setting,
) -> None:
    """That the form for many reads answers each as it was answered alone."""
    varying = varying_params(lowered.query)
    if not varying:
        return
    earlier = setting.asked.get(id(lowered), params)
    setting.asked[id(lowered)] = params
    other = tuple([earlier[at] if at in varying else value for at, value in enumerate(params)])
    [other_row] = await _run(database, lowered, other, setting)
    setting.seen(lowered.each.text)
    every = (params, other, params)
    found = await database.execute(lowered.each.text, lowered.arguments_of_each(every))
    want: list[Any] = [row, other_row, row]
    if [tuple(one) for one in found] != [tuple(one) for one in want]:
        raise Difference(
            f"together\n  {found}\nalone\n  {want}\nstatement:\n{lowered.each.text}\n"
            f"arguments: {lowered.arguments_of_each(every)}"
        )


async def _run(
    database: Database, lowered: LoweredSql, params: tuple[Value, ...], setting: Setting
) -> list[Any]:
    if database.dialect is POSTGRES:
        setting.seen(lowered.text)
    try:
        return await database.execute(lowered.text, lowered.arguments(params))
    except TooDeep:
        raise
    except Exception as exc:
        raise Difference(
            f"{database.dialect.name} failed: {exc!r}\n{lowered.text}\n{lowered.arguments(params)}"
        ) from exc


def _difference(
    database: Database, lowered: LoweredSql, params: tuple[Value, ...], want: object, got: object
) -> Difference:
    return Difference(
        f"{database.dialect.name} answers\n  {got}\nthe oracle\n  {want}\n"
        f"statement:\n{lowered.text}\narguments: {lowered.arguments(params)}"
    )
