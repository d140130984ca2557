"""What a query may cost, judged by its shape before anything is bound or asked.

Parsers have ceilings of their own (`words`), which bound the work of reading a request. These are
the limits of an installation, at most those ceilings. A shape is judged once: its plan is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, cast

import msgspec
from msgspec import Meta

from objectql.errors import QueryTooExpensive
from objectql.query.ast import And, Compare, Filter, Not, Op, Or, Query
from objectql.query.bound import BoundQuery
from objectql.query.words import MAX_CONDITIONS, MAX_MEMBERS

MAX_NODES = 6 * MAX_CONDITIONS
"""How many keys, lists and objects the JSON of a query may have."""

RELATED = 100
"""How many records a related list without a limit is taken to have."""

COUNTED = 2_000
"""How many records counting a related list is taken to cost: all of them are visited."""


class QueryLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The most that one query may have."""

    conditions: Annotated[
        int, Meta(ge=1, le=MAX_CONDITIONS, description="conditions, those of relations included")
    ] = 200
    patterns: Annotated[
        int, Meta(ge=0, description="conditions that look inside text: contains, like, search")
    ] = 50
    members: Annotated[
        int, Meta(ge=1, le=MAX_MEMBERS, description="values of one list in a condition")
    ] = 5_000
    all_members: Annotated[
        int, Meta(ge=1, description="values of all lists in the conditions together")
    ] = 10_000
    relations: Annotated[int, Meta(ge=0, description="relations to expand, at all levels")] = 30
    rows: Annotated[
        int,
        Meta(
            ge=1,
            description="records of an answer: the page times the limits of its related lists"
            " (100 where there is none; 2000 more where it is counted)",
        ),
    ] = 250_000
    sort_keys: Annotated[int, Meta(ge=1)] = 16
    group_keys: Annotated[int, Meta(ge=1)] = 16
    aggregates: Annotated[int, Meta(ge=1)] = 50


class Cost(NamedTuple):
    """What the limits are compared with."""

    conditions: int = 0
    patterns: int = 0
    relations: int = 0
    sort_keys: int = 0


def check_size(value: object, at: str) -> None:
    """Return when the JSON of a query is small enough to be read.

    A look at the brackets, before each condition is made: ten thousand of them cost as much as
    the first few.

    Raises:
        QueryTooExpensive: no query of this size is within the ceilings.

    """
    left = MAX_NODES
    open_: list[Any] = [value]
    while open_:
        found = open_.pop()
        if isinstance(found, Mapping):
            left -= len(cast("Mapping[str, Any]", found))
            found = list(cast("Mapping[str, Any]", found).values())
        inner = [part for part in cast("list[Any]", found) if type(part) in {dict, list}]
        left -= len(inner)
        if left < 0:
            raise QueryTooExpensive(
                what="the number of parts", actual=MAX_NODES - left, max=MAX_NODES, path=at
            )
        open_ += inner


def check_cost(query: Query, limits: QueryLimits) -> None:
    """Return when `query` (a template will do) is within `limits`.

    Raises:
        QueryTooExpensive: it is not, with the place.

    """
    cost = cost_of(query)
    for what, at, actual, most in (
        ("the number of conditions", "where", cost.conditions, limits.conditions),
        ("the number of searches in text", "where", cost.patterns, limits.patterns),
        ("the number of relations", "expand", cost.relations, limits.relations),
        ("the number of sort keys", "orderBy", cost.sort_keys, limits.sort_keys),
        ("the number of group keys", "groupBy", len(query.group_by), limits.group_keys),
        ("the number of aggregates", "aggregations", len(query.aggregations), limits.aggregates),
    ):
        if actual > most:
            raise QueryTooExpensive(what=what, actual=actual, max=most, path=at)


def check_rows(query: BoundQuery, limits: QueryLimits) -> None:
    """Return when an answer to `query` has few enough records, those of relations included.

    A page without a limit counts as one record: only code in the process may leave it out.

    Raises:
        QueryTooExpensive: it can have too many.

    """
    rows = _rows(query) * (1 if query.limit is None else query.limit)
    if rows > limits.rows:
        raise QueryTooExpensive(
            what="the number of records that it can answer",
            actual=rows,
            max=limits.rows,
            path="limit",
        )


def _rows(query: BoundQuery) -> int:
    """Records that come with one record of `query`, itself included."""
    rows = 1
    for item in query.expand:
        limit = RELATED if item.query.limit is None else item.query.limit
        rows += (1 if item.kind == "one" else limit) * _rows(item.query)
        rows += COUNTED if item.query.count != "none" else 0
    return rows


def check_members(literals: Sequence[Any], places: Sequence[str], limits: QueryLimits) -> None:
    """Return when no list among the literals of a query is too long, nor all of them together.

    Raises:
        QueryTooExpensive: one is, with its place.

    """
    together = 0
    for literal, at in zip(literals, places, strict=True):
        if type(literal) not in {tuple, list}:
            continue
        if len(literal) > limits.members:
            raise QueryTooExpensive(
                what="the length of a list", actual=len(literal), max=limits.members, path=at
            )
        together += len(literal)
        if together > limits.all_members:
            raise QueryTooExpensive(
                what="the length of all lists", actual=together, max=limits.all_members, path=at
            )


def cost_of(query: Query) -> Cost:
    """The cost of `query` with its relations."""
    filters = [query.where, query.having, *(item.filter for item in query.aggregations)]
    conditions = patterns = 0
    for node in filters:
        if node is not None:
            found = _count(node)
            conditions += found[0]
            patterns += found[1]
    if query.search is not None:
        terms = query.search.text
        patterns += len(terms.split()) if isinstance(terms, str) else len(terms)
    relations, sort_keys = 0, len(query.order_by)
    for item in query.expand:
        inner = cost_of(item.query)
        conditions += inner.conditions
        patterns += inner.patterns
        relations += 1 + inner.relations
        sort_keys = max(sort_keys, inner.sort_keys)
    return Cost(conditions, patterns, relations, sort_keys)


_PATTERNS = frozenset(
    {
        Op.CONTAINS,
        Op.NOT_CONTAINS,
        Op.ENDS_WITH,
        Op.ICONTAINS,
        Op.LIKE,
        Op.ILIKE,
    }
)


def _count(node: Filter) -> tuple[int, int]:
    """Conditions, and those among them that look inside text; without recursion."""
    conditions = patterns = 0
    open_: list[Filter] = [node]
    while open_:
        found = open_.pop()
        match found:
            case And(items) | Or(items):
                open_.extend(items)
            case Not(item):
                open_.append(item)
            case Compare():
                conditions += 1
                patterns += found.op in _PATTERNS
    return conditions, patterns
