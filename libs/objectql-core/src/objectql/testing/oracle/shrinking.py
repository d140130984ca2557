"""A failing case made small: records and parts of the query dropped while it still fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

import msgspec

from objectql.query.ast import And, Compare, Expand, Filter, Not, Op, Or, Query
from objectql.testing.oracle.filters import World
from objectql.values import Record

T = TypeVar("T")

MAX_ATTEMPTS: Final = 600
_PLAIN: Final = Query(object="")
_SIMPLE: Final = ("search", "limit", "offset", "count", "distinct", "include_deleted", "fields")
_SEQUENCES: Final = ("order_by", "expand", "group_by", "aggregations", "fields")
_FILTERS: Final = ("where", "having")
_KEPT: Final = frozenset({"id", "version", "created_at", "updated_at"})


class SmallCase(msgspec.Struct, frozen=True):
    """What fails: a query over records by object, and the callers' row rules."""

    rows: dict[str, list[Record]]
    query: Query
    rules: Mapping[str, Filter]


def shrink(case: SmallCase, world: World) -> Generator[SmallCase, bool, None]:
    """Smaller and smaller cases to try; each is sent back whether it fails.

    The last one that failed is the smallest: no part of it can be left out, unless that took
    more than `MAX_ATTEMPTS`.
    """
    attempts = 0
    found = True
    while found:
        found = False
        for smaller in _smaller_cases(case, world):
            attempts += 1
            if attempts > MAX_ATTEMPTS:
                return
            if (yield smaller):
                case, found = smaller, True
                break


def _smaller_cases(case: SmallCase, world: World) -> Iterator[SmallCase]:
    for name in case.rules:
        rules = {key: rule for key, rule in case.rules.items() if key != name}
        yield msgspec.structs.replace(case, rules=rules)
    for query in smaller_queries(case.query):
        yield msgspec.structs.replace(case, query=query)
    for rows in smaller_rows(case.rows, world):
        yield msgspec.structs.replace(case, rows=rows)
    for name, rule in case.rules.items():
        for smaller in smaller_filters(rule):
            yield msgspec.structs.replace(case, rules={**case.rules, name: smaller})


def smaller_rows(rows: dict[str, list[Record]], world: World) -> Iterator[dict[str, list[Record]]]:
    """Fewer records, then fewer values; lookups to dropped records become null."""
    for name, records in rows.items():
        half = len(records) // 2
        cuts = [records[:half], records[half:]] if half else []
        cuts += [[*records[:at], *records[at + 1 :]] for at in range(len(records))]
        for kept in cuts:
            yield _without_dangling({**rows, name: kept}, world)
    for name, records in rows.items():
        for at, record in enumerate(records):
            for key, value in record.items():
                if value is not None and key not in _KEPT:
                    changed = [*records[:at], {**record, key: None}, *records[at + 1 :]]
                    yield {**rows, name: changed}


def _without_dangling(rows: dict[str, list[Record]], world: World) -> dict[str, list[Record]]:
    ids = {name: {str(record["id"]) for record in records} for name, records in rows.items()}

    def cleaned(name: str, record: Record) -> Record:
        found = dict(record)
        for field in world.schema.object(name).stored_fields:
            value = found.get(field.name)
            if field.reference is None or value is None:
                continue
            known = ids[field.reference]
            if isinstance(value, list):
                found[field.name] = [id_ for id_ in value if id_ in known]
            elif value not in known:
                found[field.name] = None
        return found

    return {name: [cleaned(name, record) for record in records] for name, records in rows.items()}


def smaller_queries(query: Query) -> Iterator[Query]:
    """The query without one of its parts, or with a smaller part."""
    for name in _SIMPLE:
        if getattr(query, name) != getattr(_PLAIN, name):
            yield _with(query, name, getattr(_PLAIN, name))
    for name in _SEQUENCES:
        items = getattr(query, name) or ()
        for at in range(len(items)):
            yield _with(query, name, _dropped(items, at))
    for name in _FILTERS:
        node = getattr(query, name)
        if node is not None:
            yield _with(query, name, None)
            for smaller in smaller_filters(node):
                yield _with(query, name, smaller)
    for at, item in enumerate(query.expand):
        for smaller in smaller_queries(item.query):
            yield _with(query, "expand", _replaced(query.expand, at, Expand(item.name, smaller)))
    for at, item in enumerate(query.aggregations):
        if item.filter is None:
            continue
        for smaller in (None, *smaller_filters(item.filter)):
            narrowed = msgspec.structs.replace(item, filter=smaller)
            yield _with(query, "aggregations", _replaced(query.aggregations, at, narrowed))


def smaller_filters(node: Filter) -> Iterator[Filter]:
    """A part of the filter, or the filter without a part."""
    match node:
        case And(items) | Or(items):
            yield from items
            for at, item in enumerate(items):
                yield type(node)(_dropped(items, at))
                for smaller in smaller_filters(item):
                    yield type(node)(_replaced(items, at, smaller))
        case Not(item):
            yield item
            for smaller in smaller_filters(item):
                yield Not(smaller)
        case Compare() if node.op in {Op.IN, Op.NIN}:
            members = cast("tuple[Any, ...]", node.value)
            for at in range(len(members)):
                yield msgspec.structs.replace(node, value=_dropped(members, at))
        case Compare():
            pass


def _with(query: Query, name: str, value: Any) -> Query:
    return msgspec.structs.replace(query, **{name: value})


def _dropped(items: Sequence[T], at: int) -> tuple[T, ...]:
    return (*items[:at], *items[at + 1 :])


def _replaced(items: Sequence[T], at: int, item: T) -> tuple[T, ...]:
    return (*items[:at], item, *items[at + 1 :])
