"""The recorded vectors that concern parsing alone; those with rows are in `tests/conformance`."""

from __future__ import annotations

from typing import Any

import pytest
from tests.vectors import load_vectors, needs_vectors

from objectql.errors import ObjectQLError
from objectql.query.ast import And, Compare, Filter, Not
from objectql.query.parse import parse_query, parse_where

pytestmark = needs_vectors

DATA = load_vectors("objectstack-spec-data-cases.json")


@pytest.mark.parametrize("vector", DATA.get("parse_filter_ast_vectors", []), ids=str)
def test_tuple_filters_mean_the_same_as_their_object_form(vector: dict[str, Any]) -> None:
    given, output = vector["input"], vector.get("output")
    if "error" in vector or given is None or given == ["a", "regex", "x"]:
        # `null` is no filter at all, and operators that do not exist are refused here.
        with pytest.raises(ObjectQLError) as caught:
            parse_where(given)
        assert caught.value.code == "INVALID_FILTER"
    elif output is None:
        # The original reads `[]` and the infix form as "no filter"; here they have a meaning.
        assert given in ([], [["a", "=", 1], "or", ["b", "=", 2]])
        assert parse_where(given) is not None
    else:
        assert without_places(parse_where(given)) == without_places(parse_where(output))


def without_places(node: Filter) -> Filter:
    if isinstance(node, Compare):
        return Compare(node.path, node.op, node.value, node.ref)
    if isinstance(node, Not):
        return Not(without_places(node.item))
    return type(node)(tuple(without_places(item) for item in node.items))


def test_every_operator_word_is_known() -> None:
    for word in DATA["ast_operators"]:
        value: Any = [1, 2] if word in {"in", "nin", "not_in", "notin", "between"} else "x"
        assert isinstance(parse_where(["a", word, value]), Compare), word
    for word in DATA["filter_operators"]:
        value = {"$in": [1], "$nin": [1], "$between": [1, 2], "$null": True, "$exists": True}
        assert isinstance(parse_where({"a": {word: value.get(word, "x")}}), Compare), word


UNIFIED = load_vectors("objectql-filter-cases.json").get("groups", {})


@pytest.mark.parametrize("row", UNIFIED.get("query_builder", []), ids=lambda row: row["test"])
def test_unified_queries_and_the_asts_they_become_are_one_query(row: dict[str, Any]) -> None:
    name, document = row["args"]
    assert parse_query(document, object=name) == parse_query(row["result"], object=name)


@pytest.mark.parametrize("row", UNIFIED.get("filter_translator", []), ids=lambda row: row["test"])
def test_translated_filters_mean_the_same(row: dict[str, Any]) -> None:
    (given,) = row["args"]
    if given == {"$undef": True}:
        given = None
    where = None if row["result"] == {"$undef": True} else row["result"]
    ours = parse_query({"where": given}, object="x").where
    assert ours == (None if where is None else parse_where(where))
    assert ours != And(())
