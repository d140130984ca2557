"""Literals out of a query, so that queries of one shape are one cache key.

Two queries with the same template differ only in values and have the same plan. What of a literal
shapes the plan stays in its slot as `nature`: whether it is null, a list with nulls, an empty
list. The limit stays in the template: few values occur, and databases plan by it.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from objectql.errors import InvalidQuery
from objectql.query.ast import (
    Aggregation,
    And,
    Compare,
    Expand,
    Filter,
    Not,
    Op,
    Or,
    Query,
    Search,
    Slot,
)
from objectql.query.search_words import terms_of

MAX_TERMS = 16


class Extracted(NamedTuple):
    """`template` is hashable; `places` tells for each of `literals` where it stood."""

    template: Query
    literals: tuple[Any, ...]
    places: tuple[str, ...]


def extract(query: Query) -> Extracted:
    """Split `query` into its shape and its literals.

    A search text becomes a tuple of slots, one for each term. Slots of `where`, `search`,
    `aggregations`, `having`, relations, `offset` and `after` follow each other in this order, so
    the page position never shifts another slot.

    Raises:
        InvalidQuery: the search has too many terms.

    """
    literals: list[Any] = []
    places: list[str] = []
    return Extracted(_extract(query, literals, places), tuple(literals), tuple(places))


def _extract(query: Query, literals: list[Any], places: list[str]) -> Query:
    where = query.where
    if where is not None:
        where = _extract_filter(where, literals, places)
    search = query.search
    if search is not None:
        search = _extract_search(search, literals, places)
    aggregations = query.aggregations
    if aggregations:
        aggregations = tuple(_extract_aggregation(a, literals, places) for a in aggregations)
    having = query.having
    if having is not None:
        having = _extract_filter(having, literals, places)
    expand = query.expand
    if expand:
        expand = tuple(Expand(e.name, _extract(e.query, literals, places)) for e in expand)
    offset = query.offset
    if offset:
        offset = _take(offset, "offset", literals, places)
    after = query.after
    if after is not None:
        after = _take(after, "after", literals, places)
    return Query(
        query.object,
        query.fields,
        where,
        search,
        query.order_by,
        query.limit,
        offset,
        after,
        expand,
        query.group_by,
        aggregations,
        having,
        query.distinct,
        query.count,
        query.include_deleted,
    )


def _take(value: Any, place: str, literals: list[Any], places: list[str]) -> Slot:
    literals.append(value)
    places.append(place)
    return Slot(len(literals) - 1, "scalar")


def _extract_filter(node: Filter, literals: list[Any], places: list[str]) -> Filter:
    if type(node) is Compare:
        if node.ref is not None:
            return Compare(node.path, node.op, None, node.ref)
        value = node.value
        slot = Slot(len(literals), _nature(node.op, value))
        literals.append(value)
        places.append(node.at)
        return Compare(node.path, node.op, slot)
    if type(node) is Not:
        return Not(_extract_filter(node.item, literals, places))
    if type(node) is And:
        return And(tuple([_extract_filter(item, literals, places) for item in node.items]))
    assert type(node) is Or
    return Or(tuple([_extract_filter(item, literals, places) for item in node.items]))


def _nature(op: Op, value: Any) -> Any:
    if value is None:
        return "null"
    if isinstance(value, tuple | list):
        if not value:
            return "empty_list"
        if None in value:
            return "list_with_null"
        return "list_of_one" if len(cast("list[Any]", value)) == 1 else "list"
    if op is Op.NULL:
        return "true" if value else "false"
    return "scalar"


def _extract_search(search: Search, literals: list[Any], places: list[str]) -> Search | None:
    is_words = search.mode == "words"
    terms = terms_of(search.text) if is_words else search.text.split()
    if len(terms) > MAX_TERMS:
        raise InvalidQuery(reason=f"a search has at most {MAX_TERMS} words", path="search")
    if not terms and search.text.strip():
        raise InvalidQuery(reason="the text has no word to search for", path="search")
    if not terms:
        return None
    slots = tuple([_take(term, "search", literals, places) for term in terms])
    return Search(slots, search.fields, search.mode)


def _extract_aggregation(item: Aggregation, literals: list[Any], places: list[str]) -> Aggregation:
    if item.filter is None:
        return item
    return Aggregation(
        item.function, item.path, item.alias, _extract_filter(item.filter, literals, places)
    )
