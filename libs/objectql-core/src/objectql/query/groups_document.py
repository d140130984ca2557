"""Groups and aggregates as a query document or a URL writes them.

Both have a long form, an object, and a short one: `issued_on:month as m` groups by months,
`sum(total) as revenue` adds up.
"""

from __future__ import annotations

import re
from typing import Any, cast

from objectql.errors import InvalidQuery
from objectql.query.ast import Aggregation, Group
from objectql.query.document_parts import (
    check_keys,
    check_length,
    parse_name,
    parse_optional_filter,
    parse_text,
)
from objectql.query.words import near_misses

_FUNCTIONS = ("count", "sum", "avg", "min", "max", "count_distinct")
_GRANULARITIES = ("day", "week", "month", "quarter", "year")
_GROUP = re.compile(r"\s*([^\s:]+)(?:\s*:\s*(\w+))?(?:\s+as\s+(\S+))?\s*\Z", re.IGNORECASE)
_AGGREGATE = re.compile(
    r"\s*(\w+)\s*(?:\(\s*([^\s()]*)\s*\))?(?:\s+as\s+(\S+))?\s*\Z", re.IGNORECASE
)


def parse_groups(value: Any, at: str = "groupBy") -> tuple[Group, ...]:
    """Group keys from a list or a comma list; None means none.

    Raises:
        InvalidQuery: with the place; QueryTooExpensive: too many.

    """
    entries = _entries(value, "groups are a list of fields", at)
    return tuple(_parse_group(entry, f"{at}.{n}") for n, entry in enumerate(entries))


def parse_aggregations(value: Any, at: str = "aggregations") -> tuple[Aggregation, ...]:
    """Aggregates from a list or a comma list; None means none.

    Raises:
        InvalidQuery, InvalidFilter: with the place; QueryTooExpensive: too many.

    """
    entries = _entries(value, "aggregations are a list", at)
    return tuple(_parse_aggregation(entry, f"{at}.{n}") for n, entry in enumerate(entries))


def _entries(value: Any, reason: str, at: str) -> list[Any]:
    if value is None or value == "":
        return []
    if not isinstance(value, str | list | tuple):
        raise InvalidQuery(reason=reason, path=at)
    entries = value.split(",") if isinstance(value, str) else list(cast("list[Any]", value))
    check_length(entries, at)
    return entries


def _parse_group(entry: Any, at: str) -> Group:
    field, granularity, alias = entry, None, None
    if isinstance(entry, str) and (short := _GROUP.match(entry)) is not None:
        field, granularity, alias = short.groups()
    elif isinstance(entry, dict):
        document = cast("dict[str, Any]", entry)
        check_keys(document, ("field", "dateGranularity", "granularity", "alias"), at)
        field, alias = document.get("field"), document.get("alias")
        granularity = document.get("dateGranularity", document.get("granularity"))
    if granularity is not None and granularity not in _GRANULARITIES:
        raise InvalidQuery(
            reason=f"a date is grouped by {', '.join(_GRANULARITIES)}, not {granularity!r}", path=at
        )
    return Group(parse_name(field, at), granularity, parse_text(alias, f"{at}.alias") or "")


def _parse_aggregation(entry: Any, at: str) -> Aggregation:
    document: dict[str, Any]
    if isinstance(entry, str) and (short := _AGGREGATE.match(entry)) is not None:
        document = dict(zip(("function", "field", "alias"), short.groups(), strict=True))
        document["field"] = document["field"] or None  # `count()` is `count`
    elif isinstance(entry, dict):
        document = cast("dict[str, Any]", entry)
    else:
        raise InvalidQuery(reason="an aggregate is written {function, field, alias}", path=at)
    check_keys(document, ("function", "func", "field", "alias", "filter"), at)
    function = document.get("function", document.get("func"))
    word = function.lower() if isinstance(function, str) else ""
    if word not in _FUNCTIONS:
        raise InvalidQuery(
            reason=f"{function!r} is not an aggregate function",
            path=at,
            suggestions=near_misses(word, _FUNCTIONS),
        )
    field = document.get("field")
    path = None if field is None or field == "*" else parse_name(field, at)
    if path is None and word != "count":
        raise InvalidQuery(reason=f"{word} needs a field", path=at)
    return Aggregation(
        function=word,
        path=path,
        alias=parse_text(document.get("alias"), f"{at}.alias") or "",
        filter=parse_optional_filter(document.get("filter"), f"{at}.filter"),
    )
