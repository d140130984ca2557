"""The tuple forms of a filter.

One condition is `["total", ">", 100]`. Conditions are joined by a prefix (`["or", c1, c2]`), by
standing in a list (`[c1, c2]` is AND) or by infix words (`[c1, "and", c2, "or", c3]`, where `and`
binds tighter). What is none of these is refused; it never means "no filter".
"""

from __future__ import annotations

from typing import Any, cast

from objectql.errors import InvalidFilter, QueryTooExpensive
from objectql.query.ast import And, Compare, Filter, Not, Op, Or
from objectql.query.comparand import compare, parse_path
from objectql.query.filter_json import parse_filter_object
from objectql.query.words import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    NULL_WORDS,
    TUPLE_OPERATORS,
    near_misses,
)

_WORDS = (*TUPLE_OPERATORS, *NULL_WORDS)


def parse_filter_tuples(items: list[Any], at: str = "where", depth: int = 0) -> Filter:
    """The filter that `items` writes; an empty list is true.

    Raises:
        InvalidFilter: with the place in the request; QueryTooExpensive: too large.

    """
    if depth > MAX_DEPTH:
        raise InvalidFilter(reason=f"conditions nest deeper than {MAX_DEPTH}", path=at)
    if len(items) > MAX_CONDITIONS:
        raise QueryTooExpensive(
            what="the number of conditions", actual=len(items), max=MAX_CONDITIONS, path=at
        )
    if not items:
        return And(())
    head = items[0]
    if isinstance(head, str):
        word = head.lower()
        if word in {"and", "or"} and all(_is_group(item) for item in items[1:]):
            return _parse_prefix(word, items, at, depth)
        if word in {"not", "!"} and len(items) == 2 and _is_group(items[1]):
            return Not(_parse_item(items[1], f"{at}.1", depth))
        return _parse_condition(items, at)
    return _parse_infix(items, at, depth)


def _is_group(item: Any) -> bool:
    return isinstance(item, list | tuple | dict)


def _parse_item(item: Any, at: str, depth: int) -> Filter:
    if isinstance(item, dict):
        return parse_filter_object(cast("dict[str, Any]", item), at, depth + 1)
    if isinstance(item, list | tuple):
        return parse_filter_tuples(list(cast("list[Any]", item)), at, depth + 1)
    raise InvalidFilter(reason="a condition is a list such as [field, operator, value]", path=at)


def _parse_prefix(word: str, items: list[Any], at: str, depth: int) -> Filter:
    parts = tuple(
        _parse_item(item, f"{at}.{index}", depth) for index, item in enumerate(items[1:], 1)
    )
    if not parts:
        raise InvalidFilter(reason=f'"{word}" joins no conditions', path=at)
    if len(parts) == 1:
        return parts[0]
    return And(parts) if word == "and" else Or(parts)


def _parse_infix(items: list[Any], at: str, depth: int) -> Filter:
    """`c1 c2 and c3 or c4`: neighbours without a word between them are joined by AND."""
    alternatives: list[list[Filter]] = [[]]
    expects_condition = True
    for index, item in enumerate(items):
        place = f"{at}.{index}"
        if isinstance(item, str):
            word = item.lower()
            if word not in {"and", "or"}:
                raise InvalidFilter(reason=f'"{item}" stands where "and" or "or" could', path=place)
            if expects_condition:
                raise InvalidFilter(reason=f'"{word}" has no condition before it', path=place)
            if word == "or":
                alternatives.append([])
            expects_condition = True
            continue
        alternatives[-1].append(_parse_item(item, place, depth))
        expects_condition = False
    if expects_condition:
        raise InvalidFilter(reason="a condition is missing at the end", path=at)
    joined = [part[0] if len(part) == 1 else And(tuple(part)) for part in alternatives]
    return joined[0] if len(joined) == 1 else Or(tuple(joined))


def _parse_condition(items: list[Any], at: str) -> Compare:
    path = parse_path(items[0], f"{at}.0")
    if len(items) not in {2, 3} or not isinstance(items[1], str):
        raise InvalidFilter(reason="a condition is written [field, operator, value]", path=at)
    word = items[1].lower()
    if word in NULL_WORDS:
        return Compare(path, Op.NULL, NULL_WORDS[word], None, at)
    op = TUPLE_OPERATORS.get(word)
    if op is None:
        raise InvalidFilter(
            reason=f'"{items[1]}" is not an operator',
            path=f"{at}.1",
            suggestions=("icontains",) if word in {"regex", "~"} else near_misses(word, _WORDS),
        )
    if len(items) == 2:
        raise InvalidFilter(reason=f'"{items[1]}" needs a value', path=at)
    return compare(path, op, items[2], f"{at}.2")
