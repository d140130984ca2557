"""Query documents (JSON) to `Query`, with every alias of the three language generations.

Nothing is ignored: an unknown key, two spellings of one key that disagree and a value of the
wrong kind are all refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from objectql.errors import InvalidFilter, InvalidQuery, QueryTooExpensive
from objectql.query.ast import (
    Aggregation,
    And,
    Expand,
    Filter,
    Group,
    Path,
    Query,
    Search,
    Sort,
)
from objectql.query.filter_json import parse_filter_object
from objectql.query.filter_text import parse_filter_text
from objectql.query.filter_tuples import parse_filter_tuples
from objectql.query.words import QUERY_KEYS, near_misses

__all__ = ["parse_expand", "parse_filter_text", "parse_order", "parse_query", "parse_where"]

MAX_EXPAND_DEPTH = 3
MAX_PARTS = 100
"""How many fields, sort keys, groups, aggregates or relations one query may list."""

_FUNCTIONS = ("count", "sum", "avg", "min", "max", "count_distinct")
_GRANULARITIES = ("day", "week", "month", "quarter", "year")
_DOCUMENT_KEYS = ("object", *(key for key in QUERY_KEYS if not key.startswith("$")))
_RETIRED = {"joins": "joins", "windowFunctions": "window functions"}


def parse_query(document: Mapping[str, Any], *, object: str, depth: int = 0) -> Query:
    """The query that `document` writes for `object`.

    Raises:
        InvalidQuery, InvalidFilter, QueryTooExpensive: with the place in the document.

    """
    parts = _gather(document)
    named = document.get("object")
    if named is not None and object and named != object:
        raise InvalidQuery(
            reason=f'the query names object "{named}", not "{object}"', path="object"
        )
    count = parts.get("count")
    return Query(
        object=object or str(named or ""),
        fields=_parse_fields(parts.get("fields")),
        where=_parse_filter(parts.get("where"), "where"),
        search=_parse_search(parts.get("search"), parts.get("search_fields")),
        order_by=parse_order(parts.get("order_by")),
        limit=_parse_natural(parts.get("limit"), "limit"),
        offset=_parse_natural(parts.get("offset"), "offset") or 0,
        after=_parse_text(parts.get("after"), "after"),
        expand=parse_expand(parts.get("expand"), depth),
        group_by=_parse_groups(parts.get("group_by")),
        aggregations=_parse_aggregations(parts.get("aggregations")),
        having=_parse_filter(parts.get("having"), "having"),
        distinct=_parse_flag(parts.get("distinct"), "distinct"),
        count="estimated"
        if count == "estimated"
        else "exact"
        if count == "exact" or _parse_flag(count, "count")
        else "none",
        include_deleted=_parse_flag(parts.get("include_deleted"), "include_deleted"),
    )


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
        return parse_filter_text(value)
    raise InvalidFilter(reason="a filter is an object or a list of conditions", path=at)


def parse_order(value: Any, at: str = "orderBy") -> tuple[Sort, ...]:
    """Sort keys from any of their spellings; None means none.

    Raises:
        InvalidQuery: `value` is none of them.

    """
    if value is None or value == "":
        return ()
    entries: list[Any]
    if isinstance(value, str):
        entries = value.split(",")
    elif isinstance(value, dict):
        document = cast("dict[str, Any]", value)
        entries = [document] if "field" in document else [list(pair) for pair in document.items()]
    elif isinstance(value, list | tuple):
        entries = list(cast("list[Any]", value))
        # `["total", "desc"]` is one key, `["total", "-paid"]` are two
        if len(entries) == 2 and str(entries[1]).lower() in {"asc", "desc"}:
            entries = [entries]
    else:
        raise InvalidQuery(reason="this is not an order", path=at)
    _check_count(entries, at)
    return tuple(_parse_sort(entry, f"{at}.{n}") for n, entry in enumerate(entries))


def _parse_sort(entry: Any, at: str) -> Sort:
    if isinstance(entry, str):
        words = entry.replace(":", " ").split()
        if words and words[0][0] in "+-" and len(words) == 1:
            return Sort(_path(words[0][1:], at), descending=words[0][0] == "-")
        if len(words) in {1, 2}:
            return Sort(_path(words[0], at), _is_descending(words[1] if words[1:] else None, at))
    elif isinstance(entry, dict):
        document = cast("dict[str, Any]", entry)
        _check_keys(document, ("field", "order", "direction", "dir"), at)
        given = [document[key] for key in ("order", "direction", "dir") if key in document]
        return Sort(
            _path(document.get("field"), at), _is_descending(given[0] if given else None, at)
        )
    elif isinstance(entry, list | tuple):
        pair = cast("list[Any]", entry)
        if len(pair) in {1, 2}:
            return Sort(_path(pair[0], at), _is_descending(pair[1] if pair[1:] else None, at))
    raise InvalidQuery(reason="a sort key is written {field, order}", path=at)


def _is_descending(order: Any, at: str) -> bool:
    if order is None or order == 1:
        return False
    if order == -1:
        return True
    word = order.lower() if isinstance(order, str) else ""
    if word in {"asc", "ascending"}:
        return False
    if word in {"desc", "descending"}:
        return True
    raise InvalidQuery(reason=f"an order is asc or desc, not {order!r}", path=at)


def parse_expand(value: Any, depth: int = 0) -> tuple[Expand, ...]:
    """Relations from a map of sub-queries, a list of names or a comma list.

    The object of each sub-query is settled by `bind`.

    Raises:
        InvalidQuery: `value` is none of these, or nests too deep.

    """
    if value is None or value == "":
        return ()
    if depth >= MAX_EXPAND_DEPTH:
        raise InvalidQuery(reason=f"relations nest deeper than {MAX_EXPAND_DEPTH}", path="expand")
    entries: dict[str, Any]
    if isinstance(value, str):
        entries = dict.fromkeys((name.strip() for name in value.split(",")), True)
    elif isinstance(value, list | tuple):
        names = cast("list[Any]", value)
        if not all(isinstance(name, str) for name in names):
            raise InvalidQuery(reason="a list of relations holds names", path="expand")
        entries = dict.fromkeys(names, True)
    elif isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
    else:
        raise InvalidQuery(reason="relations are a map, a list or a comma list", path="expand")
    _check_count(entries, "expand")
    return tuple(_parse_relation(name, query, depth) for name, query in entries.items())


def _parse_relation(name: str, query: Any, depth: int) -> Expand:
    at = f"expand.{name}"
    if query is True or query is None:
        return Expand(name, Query(object=""))
    if not isinstance(query, dict):
        raise InvalidQuery(reason="a relation's query is an object", path=at)
    parsed = parse_query(cast("dict[str, Any]", query), object="", depth=depth + 1)
    for part in ("search", "after", "group_by", "aggregations", "having", "distinct"):
        if getattr(parsed, part):
            raise InvalidQuery(reason=f"{part} cannot be used inside a relation", path=at)
    if parsed.count != "none":
        raise InvalidQuery(reason="count cannot be used inside a relation", path=at)
    return Expand(name, parsed)


def _gather(document: Mapping[str, Any]) -> dict[str, Any]:
    """Values by canonical key; null means absent."""
    parts: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for key, value in document.items():
        if key == "object" or value is None:
            continue
        canonical = QUERY_KEYS.get(key)
        if canonical is None:
            if key in _RETIRED:
                raise InvalidQuery(reason=f"{_RETIRED[key]} are not supported", path=key)
            raise InvalidQuery(
                reason=f'"{key}" is not part of a query',
                path=key,
                suggestions=near_misses(key, _DOCUMENT_KEYS),
            )
        if canonical in parts and parts[canonical] != value:
            raise InvalidQuery(reason=f'"{key}" contradicts "{spelled[canonical]}"', path=key)
        parts[canonical] = value
        spelled[canonical] = key
    return parts


def _parse_filter(value: Any, at: str) -> Filter | None:
    if value is None:
        return None
    parsed = parse_where(value, at)
    return None if isinstance(parsed, And) and not parsed.items else parsed


def _parse_fields(value: Any) -> tuple[Path, ...] | None:
    if value is None or value == "*":
        return None
    names: Iterable[Any]
    if isinstance(value, str):
        names = value.split(",")
    elif isinstance(value, list | tuple):
        names = cast("list[Any]", value)
    else:
        raise InvalidQuery(reason="fields are a list of names", path="fields")
    paths = tuple(_path(name, f"fields.{n}") for n, name in enumerate(names))
    _check_count(paths, "fields", maximum=1_000)
    return None if paths == (("*",),) else tuple(dict.fromkeys(paths))


def _parse_search(value: Any, fields: Any) -> Search | None:
    if isinstance(value, dict):
        document = cast("dict[str, Any]", value)
        _check_keys(document, ("query", "text", "fields"), "search")
        value = document.get("query", document.get("text"))
        fields = document.get("fields", fields)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidQuery(reason="the search text is a string", path="search")
    if fields is not None and not isinstance(fields, str | list | tuple):
        raise InvalidQuery(reason="the fields to search are names", path="search.fields")
    names: list[Any] = (
        fields.split(",") if isinstance(fields, str) else list(cast("list[Any]", fields or ()))
    )
    if not all(isinstance(name, str) for name in names):
        raise InvalidQuery(reason="the fields to search are names", path="search.fields")
    return Search(value, tuple(name.strip() for name in names))


def _parse_groups(value: Any) -> tuple[Group, ...]:
    if value is None or value == "":
        return ()
    entries: list[Any] = value.split(",") if isinstance(value, str) else value
    if not isinstance(cast("object", entries), list | tuple):
        raise InvalidQuery(reason="groups are a list of fields", path="groupBy")
    _check_count(entries, "groupBy")
    return tuple(_parse_group(entry, f"groupBy.{n}") for n, entry in enumerate(entries))


def _parse_group(entry: Any, at: str) -> Group:
    if isinstance(entry, dict):
        document = cast("dict[str, Any]", entry)
        _check_keys(document, ("field", "dateGranularity", "granularity", "alias"), at)
        granularity = document.get("dateGranularity", document.get("granularity"))
        if granularity is not None and granularity not in _GRANULARITIES:
            raise InvalidQuery(
                reason=f"a date is grouped by {', '.join(_GRANULARITIES)}, not {granularity!r}",
                path=at,
            )
        alias = _parse_text(document.get("alias"), f"{at}.alias") or ""
        return Group(_path(document.get("field"), at), granularity, alias)
    return Group(_path(entry, at))


def _parse_aggregations(value: Any) -> tuple[Aggregation, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise InvalidQuery(reason="aggregations are a list", path="aggregations")
    entries = cast("list[Any]", value)
    _check_count(entries, "aggregations")
    return tuple(_parse_aggregation(item, f"aggregations.{n}") for n, item in enumerate(entries))


def _parse_aggregation(entry: Any, at: str) -> Aggregation:
    if not isinstance(entry, dict):
        raise InvalidQuery(reason="an aggregate is written {function, field, alias}", path=at)
    document = cast("dict[str, Any]", entry)
    _check_keys(document, ("function", "func", "field", "alias", "filter"), at)
    function = document.get("function", document.get("func"))
    word = function.lower() if isinstance(function, str) else ""
    if word not in _FUNCTIONS:
        raise InvalidQuery(
            reason=f"{function!r} is not an aggregate function",
            path=at,
            suggestions=near_misses(word, _FUNCTIONS),
        )
    field = document.get("field")
    path = None if field is None or field == "*" else _path(field, at)
    if path is None and word != "count":
        raise InvalidQuery(reason=f"{word} needs a field", path=at)
    return Aggregation(
        function=word,
        path=path,
        alias=_parse_text(document.get("alias"), f"{at}.alias") or "",
        filter=_parse_filter(document.get("filter"), f"{at}.filter"),
    )


def _path(name: Any, at: str) -> Path:
    text = name.strip() if isinstance(name, str) else ""
    path = tuple(text.split("."))
    if not all(path):
        raise InvalidQuery(reason=f"a field is named by a string, not {name!r}", path=at)
    return path


def _parse_natural(value: Any, at: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31:
        return value
    raise InvalidQuery(reason=f"{at} is a whole number from 0 on, not {value!r:.40}", path=at)


def _parse_flag(value: Any, at: str) -> bool:
    if value is None or value is False or value in ("false", "none"):
        return False
    if value is True or value == "true":
        return True
    raise InvalidQuery(reason=f"{at} is true or false, not {value!r:.40}", path=at)


def _parse_text(value: Any, at: str) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    raise InvalidQuery(reason=f"{at} is a string", path=at)


def _check_keys(document: dict[str, Any], known: tuple[str, ...], at: str) -> None:
    for key in document:
        if key not in known:
            raise InvalidQuery(
                reason=f'"{key}" has no meaning here',
                path=f"{at}.{key}",
                suggestions=near_misses(key, known),
            )


def _check_count(entries: Any, at: str, maximum: int = MAX_PARTS) -> None:
    if len(entries) > maximum:
        raise QueryTooExpensive(what=f"the length of {at}", actual=len(entries), max=maximum)
