"""A valid query, spoilt at every position, is understood or refused with a code and a place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from objectql.errors import Category, ObjectQLError
from objectql.query.filter_text import parse_filter_text
from objectql.query.parse import parse_query
from objectql.query.url import parse_url

FILTER = "(origin/tz eq 'it''s' or not contains(name, 'x')) and n in (1, -2.5) and d ge 2026-01-02"
DOCUMENT: dict[str, Any] = {
    "where": {"$or": [{"a": {"$gt": 1, "$in": ["x", None]}}, {"$not": {"b": "y"}}]},
    "fields": ["a", "b.c"],
    "orderBy": [{"field": "a", "order": "desc"}, "-b"],
    "limit": 10,
    "offset": 5,
    "expand": {"child": {"where": [["a", "=", 1], "or", ["b", "in", [1, 2]]], "limit": 3}},
    "search": {"query": "two words", "fields": ["a"]},
    "count": True,
}
GROUPS: dict[str, Any] = {
    "groupBy": [{"field": "day", "dateGranularity": "month", "alias": "m"}],
    "aggregations": [{"function": "sum", "field": "n", "alias": "s", "filter": {"a": 1}}],
    "having": {"s": {"$gt": 5}},
}
SPOILERS: tuple[Any, ...] = (None, True, -1, 1.5, 2**60, "", "$x", "é", [], [[]], {}, {"$x": 1})
URL = {
    "$filter": FILTER,
    "$orderby": "a desc,-b",
    "$select": "a,b.c",
    "$expand": "child($select=a;$filter=b eq 1;$top=3)",
    "$top": "10",
    "$skip": "5",
    "$count": "true",
}


@pytest.mark.parametrize("spoiler", ["", "'", "(", ")", ",", " ", "\\", "é", "\0", "$", "9"])
def test_a_filter_text_spoilt_anywhere_names_the_position(spoiler: str) -> None:
    for at in range(len(FILTER)):
        for text in (FILTER[:at] + spoiler + FILTER[at:], FILTER[:at] + spoiler + FILTER[at + 1 :]):
            error = refusal(lambda text=text: parse_filter_text(text))
            if error is not None:
                position = getattr(error, "position", None)
                assert position is not None, text
                assert 0 <= position <= len(text), text


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a JSON document."""
    if path:
        yield path
    if isinstance(node, dict):
        for key in node:  # pyright: ignore[reportUnknownVariableType]
            yield from places(node[key], (*path, key))  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(node, list):
        for index, item in enumerate(node):  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            yield from places(item, (*path, index))


def spoilt(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    node: Any = changed
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return changed


def refusal(parse: Callable[[], object]) -> ObjectQLError | None:
    try:
        parse()
    except ObjectQLError as refused:
        return refused
    return None


@pytest.mark.parametrize("document", [DOCUMENT, GROUPS], ids=["records", "groups"])
def test_a_document_spoilt_anywhere_is_refused_with_its_place(document: dict[str, Any]) -> None:
    refused = 0
    for path in places(document):
        for value in SPOILERS:
            broken = spoilt(document, path, value)
            error = refusal(lambda broken=broken: parse_query(broken, object="o"))
            if error is not None:
                refused += 1
                assert error.category is Category.INVALID_REQUEST, (path, value)
                assert getattr(error, "path", ""), (path, value, error.message)
    assert refused > 100


@pytest.mark.parametrize("name", URL)
def test_a_url_parameter_spoilt_anywhere_is_refused_with_its_name(name: str) -> None:
    text = URL[name]
    for at in range(len(text)):
        for spoiler in ("", "'", "(", ";", "é", "{", "$"):
            broken = {**URL, name: text[:at] + spoiler + text[at + 1 :]}
            error = refusal(
                lambda broken=broken: parse_url("o", list(broken.items()), dialect="odata")
            )
            if error is not None:
                assert error.category is Category.INVALID_REQUEST, broken[name]
                assert getattr(error, "path", ""), (broken[name], error.message)
