"""One condition, checked: what every form of a filter is made of.

A condition without meaning is refused here, with its place, so that it can never become "no
condition": that would answer more rows than were asked for.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, cast

from objectql.errors import InvalidFilter, QueryTooExpensive
from objectql.query.ast import Compare, Op, Path
from objectql.query.words import DOLLAR_OF, MAX_MEMBERS, MAX_PATTERN
from objectql.values import MAX_SAFE_INTEGER

_LISTS = frozenset({Op.IN, Op.NIN})
_TEXTS = frozenset(
    {
        Op.CONTAINS,
        Op.NOT_CONTAINS,
        Op.STARTS_WITH,
        Op.ENDS_WITH,
        Op.ICONTAINS,
        Op.LIKE,
        Op.ILIKE,
    }
)
_PATTERNS = frozenset({Op.LIKE, Op.ILIKE})
REFERABLE = frozenset({Op.EQ, Op.NE, Op.GT, Op.GTE, Op.LT, Op.LTE})
"""Operators that may compare two fields of one record."""

_KINDS = "a string, number, boolean or null"


def parse_path(text: object, at: str) -> Path:
    """`origin.tz` as `("origin", "tz")`.

    Raises:
        InvalidFilter: not a dotted name.

    """
    if not isinstance(text, str) or not text:
        raise InvalidFilter(reason="a field is named by a non-empty string", path=at)
    path = tuple(text.split("."))
    if not all(path):
        raise InvalidFilter(reason=f'"{text}" is not a field path', path=at)
    return path


def compare(path: Path, op: Op, value: Any, at: str) -> Compare:
    """`path op value` with `at` as its place, if `value` is what `op` compares with.

    Raises:
        InvalidFilter: it is not; QueryTooExpensive: a list of too many members.

    """
    # The common cases first: this runs once per condition of every request.
    if type(value) is str and op in REFERABLE:
        return Compare(path, op, value, None, at)
    if type(value) is dict:
        return _compare_fields(path, op, cast("dict[str, Any]", value), at)
    word = DOLLAR_OF[op]
    if op in _LISTS:
        if not isinstance(value, list | tuple):
            raise InvalidFilter(reason=f"{word} needs a list of values", path=at)
        members = cast("list[Any]", value)
        if len(members) > MAX_MEMBERS:
            raise QueryTooExpensive(
                what=f"the list of {word}", actual=len(members), max=MAX_MEMBERS, path=at
            )
        for index, member in enumerate(members):
            _check_scalar(member, f"{at}[{index}]")
        return Compare(path, op, tuple(members), None, at)
    if op is Op.BETWEEN:
        bounds = cast("list[Any]", value) if isinstance(value, list | tuple) else []
        if len(bounds) != 2 or None in bounds:
            raise InvalidFilter(reason=f"{word} needs a list of two values: [min, max]", path=at)
        for index, bound in enumerate(bounds):
            _check_scalar(bound, f"{at}[{index}]")
        return Compare(path, op, tuple(bounds), None, at)
    if op in _TEXTS:
        if not isinstance(value, str) or not value:
            raise InvalidFilter(reason=f"{word} needs a non-empty string", path=at)
        if op in _PATTERNS and len(value) > MAX_PATTERN:
            raise QueryTooExpensive(
                what=f"the pattern of {word}", actual=len(value), max=MAX_PATTERN, path=at
            )
    elif op is Op.NULL:
        if not isinstance(value, bool):
            raise InvalidFilter(reason=f"{word} needs true or false", path=at)
    else:
        _check_scalar(value, at)
    return Compare(path, op, value, None, at)


def _compare_fields(path: Path, op: Op, value: dict[str, Any], at: str) -> Compare:
    if set(value) == {"$field"}:
        if op not in REFERABLE:
            raise InvalidFilter(reason=f"{DOLLAR_OF[op]} cannot compare with a field", path=at)
        return Compare(path, op, None, parse_path(value["$field"], f"{at}.$field"), at)
    raise InvalidFilter(reason=f"a comparand is {_KINDS}, not a plain object", path=at)


def _check_scalar(value: Any, at: str) -> None:
    if value is None or isinstance(value, str | bool):
        return
    if isinstance(value, int):
        if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
            return
        raise InvalidFilter(
            reason=f"an integer beyond 2^53 is not exact; a comparand is {_KINDS}", path=at
        )
    if isinstance(value, float | Decimal):
        if math.isfinite(value):
            return
        raise InvalidFilter(reason="a comparand must be a finite number", path=at)
    kind = "a plain object" if isinstance(value, dict) else f"a {type(value).__name__}"
    raise InvalidFilter(reason=f"a comparand is {_KINDS}, not {kind}", path=at)
