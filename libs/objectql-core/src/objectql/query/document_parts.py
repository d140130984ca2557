"""What the parts of a query document share: checked values, each refused with its place."""

from __future__ import annotations

from typing import Any, cast

from objectql.errors import InvalidFilter, InvalidQuery, QueryTooExpensive
from objectql.query.ast import And, CountMode, Filter, Path
from objectql.query.filter_json import parse_filter_object
from objectql.query.filter_text import parse_filter_text
from objectql.query.filter_tuples import parse_filter_tuples
from objectql.query.words import near_misses

MAX_PARTS = 100
"""How many fields, sort keys, groups, aggregates or relations one query may list."""


def parse_where(value: Any, at: str = "where") -> Filter:
    """The filter that `value` writes in the object form, a tuple form or as text.

    Raises:
        InvalidFilter: it is neither, or has no meaning; QueryTooExpensive: too large.

    """
    if isinstance(value, dict):
        return parse_filter_object(cast("dict[str, Any]", value), at)
    if isinstance(value, list | tuple):
        return parse_filter_tuples(list(cast("list[Any]", value)), at)
    if isinstance(value, str):
        return parse_filter_text(value, "$filter" if at == "where" else at)
    raise InvalidFilter(reason="a filter is an object or a list of conditions", path=at)


def parse_optional_filter(value: Any, at: str) -> Filter | None:
    """The filter that `value` writes; None where there is none, or none that excludes anything."""
    if value is None:
        return None
    parsed = parse_where(value, at)
    return None if isinstance(parsed, And) and not parsed.items else parsed


def parse_name(name: Any, at: str) -> Path:
    """The path that `name` writes, around which white space means nothing."""
    text = name.strip() if isinstance(name, str) else ""
    path = tuple(text.split("."))
    if not all(path):
        raise InvalidQuery(reason=f"a field is named by a string, not {name!r}", path=at)
    return path


def parse_natural(value: Any, at: str) -> int | None:
    """A whole number from 0 on; None when there is none."""
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31:
        return value
    raise InvalidQuery(reason=f"{at} is a whole number from 0 on, not {value!r:.40}", path=at)


def parse_flag(value: Any, at: str) -> bool:
    """True or false; absent is false."""
    if value is None or value is False or value in ("false", "none"):
        return False
    if value is True or value == "true":
        return True
    raise InvalidQuery(reason=f"{at} is true or false, not {value!r:.40}", path=at)


def parse_count(value: Any, at: str) -> CountMode:
    """How to count: by a mode or, as older clients ask, by true."""
    if value in ("estimated", "exact"):
        return cast("CountMode", value)
    return "exact" if parse_flag(value, at) else "none"


def parse_text(value: Any, at: str) -> str | None:
    """A string; None when there is none or an empty one."""
    if value is None or isinstance(value, str):
        return value or None
    raise InvalidQuery(reason=f"{at} is a string", path=at)


def check_keys(document: dict[str, Any], known: tuple[str, ...], at: str) -> None:
    """Return when `document` has only `known` keys."""
    for key in document:
        if key not in known:
            raise InvalidQuery(
                reason=f'"{key}" has no meaning here',
                path=f"{at}.{key}",
                suggestions=near_misses(key, known),
            )


def check_length(entries: Any, at: str, maximum: int = MAX_PARTS) -> None:
    """Return when there are at most `maximum` entries."""
    if len(entries) > maximum:
        raise QueryTooExpensive(
            what=f"the length of {at}", actual=len(entries), max=maximum, path=at
        )
