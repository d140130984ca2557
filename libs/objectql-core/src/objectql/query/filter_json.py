"""The object form of a filter: `{"status": "paid", "total": {"$gte": 100}, "$or": [...]}`.

Siblings are joined by AND. `{}` is true, `{"$or": []}` is false and `{"$not": {}}` is false.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from objectql.errors import InvalidFilter, QueryTooExpensive
from objectql.query.ast import And, Compare, Filter, Not, Op, Or
from objectql.query.comparand import compare, parse_path
from objectql.query.words import (
    DOLLAR_OPERATORS,
    EXISTS_OPERATORS,
    MAX_CONDITIONS,
    MAX_DEPTH,
    RETIRED_OPERATORS,
    near_misses,
)

_KNOWN = (*DOLLAR_OPERATORS, "$exists", "$field")


def parse_filter_object(document: Mapping[str, Any], at: str = "where", depth: int = 0) -> Filter:
    """The filter that `document` writes.

    Raises:
        InvalidFilter: with the place in the request; QueryTooExpensive: too large.

    """
    if depth > MAX_DEPTH:
        raise InvalidFilter(reason=f"conditions nest deeper than {MAX_DEPTH}", path=at)
    if len(document) > MAX_CONDITIONS:
        raise QueryTooExpensive(
            what="the number of conditions", actual=len(document), max=MAX_CONDITIONS, path=at
        )
    items: list[Filter] = []
    for key, value in document.items():
        place = f"{at}.{key}"
        if not key.startswith("$"):
            _append_conditions(items, key, value, place)
        elif key == "$and":
            items.append(And(_parse_branches(key, value, place, depth)))
        elif key == "$or":
            items.append(Or(_parse_branches(key, value, place, depth)))
        elif key == "$not":
            items.append(Not(_parse_branch(value, place, depth)))
        else:
            raise InvalidFilter(
                reason=f"{key} is not a logical operator",
                path=place,
                suggestions=near_misses(key, ("$and", "$or", "$not")),
            )
    return items[0] if len(items) == 1 else And(tuple(items))


def _parse_branches(key: str, value: Any, at: str, depth: int) -> tuple[Filter, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidFilter(reason=f"{key} needs a list of conditions", path=at)
    branches = cast("list[Any]", value)
    if len(branches) > MAX_CONDITIONS:
        raise QueryTooExpensive(
            what="the number of conditions", actual=len(branches), max=MAX_CONDITIONS, path=at
        )
    return tuple(_parse_branch(item, f"{at}.{n}", depth) for n, item in enumerate(branches))


def _parse_branch(value: Any, at: str, depth: int) -> Filter:
    if not isinstance(value, dict):
        raise InvalidFilter(reason="a branch is an object of conditions", path=at)
    return parse_filter_object(cast("dict[str, Any]", value), at, depth + 1)


def _append_conditions(items: list[Filter], key: str, value: Any, at: str) -> None:
    path = (key,) if key and "." not in key else parse_path(key, at)
    if type(value) is not dict or "$field" in value:
        items.append(compare(path, Op.EQ, cast("Any", value), at))
        return
    operators = cast("dict[str, Any]", value)
    if not operators:
        raise InvalidFilter(reason="no operator is given; use {} around fields only", path=at)
    if not all(word.startswith("$") for word in operators):
        raise InvalidFilter(
            reason="a comparand is a string, number, boolean, null or an object of operators,"
            " not a plain object",
            path=at,
        )
    retired = sorted(RETIRED_OPERATORS & set(operators), reverse=True)
    if retired:
        raise InvalidFilter(
            reason=f"{' and '.join(retired)} cannot be used; $icontains finds text without"
            " regard to case",
            path=at,
            suggestions=("$icontains",),
        )
    for word, comparand in operators.items():
        items.append(_parse_operator(path, word, comparand, f"{at}.{word}"))


def _parse_operator(path: tuple[str, ...], word: str, value: Any, at: str) -> Compare:
    op = DOLLAR_OPERATORS.get(word)
    if op is not None:
        return compare(path, op, value, at)
    if word in EXISTS_OPERATORS:
        if not isinstance(value, bool):
            raise InvalidFilter(reason=f"{word} needs true or false", path=at)
        return Compare(path, Op.NULL, not value, None, at)
    raise InvalidFilter(
        reason=f"{word} is not an operator", path=at, suggestions=near_misses(word, _KNOWN)
    )
