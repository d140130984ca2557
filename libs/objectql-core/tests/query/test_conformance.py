"""The vectors recorded from the TypeScript originals, through parse, bind and interpret."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from objectql.errors import InvalidFilter, ObjectQLError
from objectql.ids import FieldName
from objectql.metadata.types import Storage
from objectql.query.ast import And, Compare, Filter, Not, Op
from objectql.query.parse import parse_query, parse_where
from objectql.testing.samples import (
    NOW_MS,
    SampleSchema,
    cursor_after,
    field,
    ids,
    object_def,
    run,
)

_ROOT = Path(__file__).parents[4]
VECTORS = Path(os.environ.get("OQL_VECTORS_DIR", _ROOT.parent / "shared" / "conformance"))  # noqa: TID251 - where the vectors are is told by the environment
pytestmark = pytest.mark.skipif(not VECTORS.is_dir(), reason=f"no vectors in {VECTORS}")


def load(name: str) -> dict[str, Any]:
    path = VECTORS / name
    return json.loads(path.read_text()) if path.is_file() else {}


DATA = load("objectstack-spec-data-cases.json")
SUITES: dict[str, Any] = DATA.get("suites", {})

THING = object_def(
    "thing",
    *(field(name, "text") for name in "a b c d owner status parent_object parent_id".split()),
    *(field(name, "text") for name in "name region stage label note".split()),
    *(field(name, "number", scale=0) for name in "rank score qty".split()),
    field("active", "boolean"),
)
MOMENTS = object_def("thing", field("at", "datetime"), field("on", "date"))
CLOCKS = object_def("thing", field("at", "time"))


def rows_of(suite: str) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if key not in {"why", "writerForm"}}
        for row in SUITES[suite]["rows"]
    ]


def cases(*suites: str) -> list[Any]:
    return [
        pytest.param(suite, case, id=f"{suite}: {case['name']}")
        for suite in suites
        for case in SUITES.get(suite, {}).get("cases", [])
    ]


def ask(suite: str, document: dict[str, Any], definition: Any = THING) -> Any:
    rows = {"thing": rows_of(suite)}
    return run(document, rows, object="thing", schema=SampleSchema(definition))


@pytest.mark.parametrize(("suite", "case"), cases("filter_logic", "filter_text"))
def test_filter_cases_select_the_same_rows(suite: str, case: dict[str, Any]) -> None:
    if case.get("expectRejection"):
        with pytest.raises(InvalidFilter) as caught:
            ask(suite, {"where": case["filter"]})
        assert caught.value.code == case["code"]
        for word in case["mustMention"]:
            assert word in str(caught.value)
        return
    assert sorted(ids(ask(suite, {"where": case["filter"]}))) == case["expected"]


COMPARANDS: dict[str, Any] = {
    "string compiles and matches — operator form": {"label": {"$eq": "beta"}},
    "number compiles and matches — the #7956 control cell": {"qty": {"$eq": 100}},
    "bigint compiles and matches — the crash cell, dead (#7872)": {"qty": {"$eq": 100}},
    "bigint compiles and matches — implicit-equality form": {"qty": 250},
    "bigint compiles and matches — as an $in member": {"qty": {"$in": [100]}},
    "boolean compiles and matches — implicit-equality form": {"active": True},
    "null compiles and matches — the declared null predicate": {"note": None},
    "a function is refused": {"qty": {"$eq": len}},
    "a Symbol is refused": {"qty": {"$eq": Op}},
    "a Map is refused": {"qty": {"$eq": frozenset({1})}},
    "a class instance is refused": {"qty": {"$eq": object()}},
    "a class instance is refused — implicit-equality form": {"qty": object()},
    "a plain object in a scalar slot is refused": {"qty": {"$eq": {"v": 100}}},
    "a bigint beyond ±2^53 is refused — precision loss must not answer silently": {
        "qty": {"$eq": 2**53 + 1}
    },
}
"""The filters of this suite are JavaScript values, so they are written again here. Left out: the
three `undefined` cases (JSON has no such value) and the `Date` case (it asserts no rows)."""


@pytest.mark.parametrize(
    ("suite", "case"),
    [param for param in cases("filter_comparand_type") if param.values[1]["name"] in COMPARANDS],
)
def test_comparand_types_match_or_are_refused(suite: str, case: dict[str, Any]) -> None:
    document = {"where": COMPARANDS[case["name"]]}
    if case["verdict"] == "matches":
        assert ids(ask(suite, document)) == case["expected"]
    else:
        with pytest.raises(InvalidFilter):
            ask(suite, document)


def test_no_comparand_case_is_left_out_unseen() -> None:
    names = {case["name"] for case in SUITES["filter_comparand_type"]["cases"]}
    left_out = {n for n in names if n.startswith(("undefined", "Date"))}
    assert names - left_out == set(COMPARANDS)


@pytest.mark.parametrize(
    ("suite", "case", "form"),
    [
        pytest.param(*param.values, form, id=f"{param.id} ({form})")
        for param in cases("temporal", "temporal_time")
        for form in ("filter", "tokenFilter")
        if form in param.values[1]
    ],
)
def test_temporal_cases_select_the_same_rows(suite: str, case: dict[str, Any], form: str) -> None:
    definition = MOMENTS if suite == "temporal" else CLOCKS
    assert DATA["temporal_now"] == "2026-07-28T12:00:00.000Z"
    assert NOW_MS == 1_785_240_000_000
    answer = ask(suite, {"where": case[form]}, definition)
    assert sorted(ids(answer)) == case["expected"]


@pytest.mark.parametrize(("suite", "case"), cases("aggregation"))
def test_aggregation_cases_give_the_same_values(suite: str, case: dict[str, Any]) -> None:
    aggregate = {"function": case["function"], "field": case.get("field"), "alias": "value"}
    document: dict[str, Any] = {"aggregations": [aggregate]}
    key = case.get("groupByAlias", case.get("groupBy", "group"))
    if "groupBy" in case:
        document["groupBy"] = [{"field": case["groupBy"], "alias": case.get("groupByAlias")}]
    found = ask(suite, document).items
    assert [{"group": row.get(key), "value": row["value"]} for row in found] == case["expected"]


@pytest.mark.parametrize(("suite", "case"), cases("pagination", "pagination_unordered"))
@pytest.mark.parametrize("by", ["offset", "cursor"])
def test_page_walks_see_every_row_once(suite: str, case: dict[str, Any], by: str) -> None:
    document: dict[str, Any] = {"limit": case["pageSize"], "orderBy": case.get("orderBy")}
    whole = ids(ask(suite, {"orderBy": case.get("orderBy")}))
    seen: list[str] = []
    while True:
        answer = ask(suite, document)
        seen += ids(answer)
        if not answer.has_next:
            break
        if by == "offset":
            document["offset"] = len(seen)
        else:
            document["after"] = cursor_after(parse_query(document, object="thing"), answer)
    assert seen == whole
    assert len(set(seen)) == len(rows_of(suite))


@pytest.mark.parametrize(("suite", "case"), cases("pagination_zero_limit"))
def test_limit_zero_is_none_not_all(suite: str, case: dict[str, Any]) -> None:
    assert len(ask(suite, case["query"]).items) == case["expectedRowCount"]


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


UNIFIED = load("objectql-filter-cases.json").get("groups", {})


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


def test_storages_of_the_fixtures_are_those_of_the_vectors() -> None:
    assert MOMENTS.fields[FieldName("at")].storage is Storage.DATETIME
    assert CLOCKS.fields[FieldName("at")].storage is Storage.TIME
