"""Query documents (JSON) to `Query`, with every alias of the three language generations.

Nothing is ignored: an unknown key, two spellings of one key that disagree and a value of the
wrong kind are all refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from objectql.errors import InvalidQuery
from objectql.query.ast import Expand, Path, Query, Search, Sort
from objectql.query.document_parts import (
    check_keys,
    check_length,
    parse_count,
    parse_flag,
    parse_name,
    parse_natural,
    parse_optional_filter,
    parse_text,
    parse_where,
)
from objectql.query.filter_text import parse_filter_text
from objectql.query.groups_document import parse_aggregations, parse_groups
from objectql.query.limits import check_size
from objectql.query.words import QUERY_KEYS, near_misses

__all__ = ["parse_expand", "parse_filter_text", "parse_order", "parse_query", "parse_where"]

MAX_EXPAND_DEPTH = 3
_DOCUMENT_KEYS = ("object", *(key for key in QUERY_KEYS if not key.startswith("$")))
_RETIRED = {"joins": "joins", "windowFunctions": "window functions"}


def parse_query(document: Mapping[str, Any], *, object: str, depth: int = 0, at: str = "") -> Query:
    """The query that `document` writes for `object`.

    `at` is where the document stands in the request, with a dot at its end: `expand.origin.`.

    Raises:
        InvalidQuery, InvalidFilter, QueryTooExpensive: with the place in the document.

    """
    if not depth:
        check_size(document, "")
    parts = _gather(document, at)
    named = document.get("object")
    if named is not None and object and named != object:
        raise InvalidQuery(
            reason=f'the query names object "{named}", not "{object}"', path=f"{at}object"
        )
    offset = parse_natural(parts.get("offset"), f"{at}offset") or 0
    after = parse_text(parts.get("after"), f"{at}after")
    if after and offset:
        raise InvalidQuery(reason="a page begins after a cursor or at an offset", path=f"{at}after")
    return Query(
        object=object or str(named or ""),
        fields=_parse_fields(parts.get("fields"), f"{at}fields"),
        where=parse_optional_filter(parts.get("where"), f"{at}where"),
        search=_parse_search(parts, f"{at}search"),
        order_by=parse_order(parts.get("order_by"), f"{at}orderBy"),
        limit=parse_natural(parts.get("limit"), f"{at}limit"),
        offset=offset,
        after=after,
        expand=parse_expand(parts.get("expand"), depth, f"{at}expand"),
        group_by=parse_groups(parts.get("group_by"), f"{at}groupBy"),
        aggregations=parse_aggregations(parts.get("aggregations"), f"{at}aggregations"),
        having=parse_optional_filter(parts.get("having"), f"{at}having"),
        distinct=parse_flag(parts.get("distinct"), f"{at}distinct"),
        count=parse_count(parts.get("count"), f"{at}count"),
        include_deleted=parse_flag(parts.get("include_deleted"), f"{at}includeDeleted"),
    )


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
    check_length(entries, at)
    return tuple(_parse_sort(entry, f"{at}.{n}") for n, entry in enumerate(entries))


def _parse_sort(entry: Any, at: str) -> Sort:
    if isinstance(entry, str):
        words = entry.replace(":", " ").split()
        if words and words[0][0] in "+-" and len(words) == 1:
            return Sort(parse_name(words[0][1:], at), descending=words[0][0] == "-")
        if len(words) in {1, 2}:
            return Sort(
                parse_name(words[0], at), _is_descending(words[1] if words[1:] else None, at)
            )
    elif isinstance(entry, dict):
        document = cast("dict[str, Any]", entry)
        check_keys(document, ("field", "order", "direction", "dir"), at)
        given = [document[key] for key in ("order", "direction", "dir") if key in document]
        return Sort(
            parse_name(document.get("field"), at), _is_descending(given[0] if given else None, at)
        )
    elif isinstance(entry, list | tuple):
        pair = cast("list[Any]", entry)
        if len(pair) in {1, 2}:
            return Sort(parse_name(pair[0], at), _is_descending(pair[1] if pair[1:] else None, at))
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


def parse_expand(value: Any, depth: int = 0, at: str = "expand") -> tuple[Expand, ...]:
    """Relations from a map of sub-queries, a list of names or a comma list.

    The object of each sub-query is settled by `bind`.

    Raises:
        InvalidQuery: `value` is none of these, or nests too deep.

    """
    if value is None or value == "":
        return ()
    if depth >= MAX_EXPAND_DEPTH:
        raise InvalidQuery(reason=f"relations nest deeper than {MAX_EXPAND_DEPTH}", path=at)
    entries: dict[str, Any]
    if isinstance(value, str):
        entries = dict.fromkeys((name.strip() for name in value.split(",")), True)
    elif isinstance(value, list | tuple):
        names = cast("list[Any]", value)
        if not all(isinstance(name, str) for name in names):
            raise InvalidQuery(reason="a list of relations holds names", path=at)
        entries = dict.fromkeys(names, True)
    elif isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
    else:
        raise InvalidQuery(reason="relations are a map, a list or a comma list", path=at)
    check_length(entries, at)
    return tuple(_parse_relation(name, query, depth, at) for name, query in entries.items())


def _parse_relation(name: str, query: Any, depth: int, within: str) -> Expand:
    at = f"{within}.{name}"
    if query is True or query is None:
        return Expand(name, Query(object=""))
    if not isinstance(query, dict):
        raise InvalidQuery(reason="a relation's query is an object", path=at)
    document = cast("dict[str, Any]", query)
    parsed = parse_query(document, object="", depth=depth + 1, at=f"{at}.")
    for part in ("search", "after", "group_by", "aggregations", "having", "distinct"):
        if getattr(parsed, part):
            raise InvalidQuery(reason=f"{part} cannot be used inside a relation", path=at)
    if parsed.count == "estimated":
        raise InvalidQuery(reason="related records are counted exactly", path=f"{at}.count")
    return Expand(name, parsed)


def _gather(document: Mapping[str, Any], at: str) -> dict[str, Any]:
    """Values by canonical key; null means absent."""
    parts: dict[str, Any] = {}
    spelled: dict[str, str] = {}
    for key, value in document.items():
        if key == "object" or value is None:
            continue
        canonical = QUERY_KEYS.get(key)
        if canonical is None:
            if key in _RETIRED:
                raise InvalidQuery(reason=f"{_RETIRED[key]} are not supported", path=f"{at}{key}")
            raise InvalidQuery(
                reason=f'"{key}" is not part of a query',
                path=f"{at}{key}",
                suggestions=near_misses(key, _DOCUMENT_KEYS),
            )
        if canonical in parts and parts[canonical] != value:
            raise InvalidQuery(
                reason=f'"{key}" contradicts "{spelled[canonical]}"', path=f"{at}{key}"
            )
        parts[canonical] = value
        spelled[canonical] = key
    return parts


def _parse_fields(value: Any, at: str) -> tuple[Path, ...] | None:
    if value is None or value == "*":
        return None
    names: Iterable[Any]
    if isinstance(value, str):
        names = value.split(",")
    elif isinstance(value, list | tuple):
        names = cast("list[Any]", value)
    else:
        raise InvalidQuery(reason="fields are a list of names", path=at)
    paths = tuple(parse_name(name, f"{at}.{n}") for n, name in enumerate(names))
    check_length(paths, at, maximum=1_000)
    return None if paths == (("*",),) else tuple(dict.fromkeys(paths))


def _parse_search(parts: dict[str, Any], at: str) -> Search | None:
    value, fields = parts.get("search"), parts.get("search_fields")
    mode = parts.get("search_mode", "substring")
    if isinstance(value, dict):
        document = cast("dict[str, Any]", value)
        check_keys(document, ("query", "text", "fields", "mode"), at)
        mode = document.get("mode", mode)
        value = document.get("query", document.get("text"))
        fields = document.get("fields", fields)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidQuery(reason="the search text is a string", path=at)
    if fields is not None and not isinstance(fields, str | list | tuple):
        raise InvalidQuery(reason="the fields to search are names", path=f"{at}.fields")
    names: list[Any] = (
        fields.split(",") if isinstance(fields, str) else list(cast("list[Any]", fields or ()))
    )
    if not all(isinstance(name, str) for name in names):
        raise InvalidQuery(reason="the fields to search are names", path=f"{at}.fields")
    if mode not in ("substring", "words"):
        raise InvalidQuery(
            reason=f"a search goes by substring or by words, not {mode!r:.40}", path=at
        )
    return Search(value, tuple(name.strip() for name in names), mode)
