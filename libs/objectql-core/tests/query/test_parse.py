from __future__ import annotations

from typing import Any

import pytest

from objectql.errors import InvalidFilter, InvalidQuery, ObjectQLError, QueryTooExpensive
from objectql.query.ast import And, Compare, Expand, Filter, Not, Or, Query, Sort
from objectql.query.parse import parse_filter_text, parse_query, parse_where


def shape(node: Filter) -> Any:
    """A filter as nested tuples, without places."""
    match node:
        case And(items):
            return ("and", *map(shape, items))
        case Or(items):
            return ("or", *map(shape, items))
        case Not(item):
            return ("not", shape(item))
        case Compare(path, op, value, ref, _):
            return (".".join(path), op.value, ref or value)


@pytest.mark.parametrize(
    "document",
    [
        {"where": {"a": 1}, "fields": ["b"], "orderBy": "-c", "limit": 5, "offset": 2},
        {"filters": ["a", "=", 1], "select": "b", "sort": [["c", "desc"]], "top": 5, "skip": 2},
        {"filter": {"a": 1}, "$select": ["b"], "$orderby": "c desc", "$top": "5", "$skip": "2"},
        {"where": {"a": 1}, "filters": {"a": 1}, "fields": ["b"], "sort": {"c": "DESC"}}
        | {"limit": 5, "top": 5, "offset": 2},
        {"where": {"a": 1}, "fields": ["b"], "orderBy": [{"field": "c", "order": "DESC"}]}
        | {"limit": 5, "offset": 2},
    ],
)
def test_aliases_of_all_generations_are_one_query(document: dict[str, Any]) -> None:
    query = parse_query(document, object="o")
    assert shape(query.where or And(())) == ("a", "eq", 1)
    assert query.fields == (("b",),)
    assert query.order_by == (Sort(("c",), descending=True),)
    assert (query.limit, query.offset) == (5, 2)


@pytest.mark.parametrize(
    ("document", "hint"),
    [
        ({"where": {"a": 1}, "filters": {"a": 2}}, "contradicts"),
        ({"limit": 1, "top": 2}, "contradicts"),
        ({"wher": {"a": 1}}, "where"),
        ({"joins": []}, "not supported"),
        ({"limit": -1}, "limit"),
        ({"limit": 1.5}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"offset": -1}, "offset"),
        ({"orderBy": [{"field": "a", "order": "up"}]}, "asc or desc"),
        ({"orderBy": [{"feild": "a"}]}, "field"),
        ({"fields": [1]}, "fields.0"),
        ({"aggregations": [{"function": "median", "field": "a"}]}, "median"),
        ({"aggregations": [{"function": "sum"}]}, "needs a field"),
        ({"groupBy": [{"field": "a", "dateGranularity": "hour"}]}, "hour"),
        ({"distinct": "yes"}, "distinct"),
        ({"expand": {"a": {"expand": {"b": {"expand": {"c": {"expand": "d"}}}}}}}, "deeper"),
        ({"expand": {"a": {"groupBy": ["b"]}}}, "group_by"),
        ({"object": "other"}, "other"),
        ({"search": 5}, "search"),
    ],
)
def test_documents_without_meaning_are_refused(document: dict[str, Any], hint: str) -> None:
    with pytest.raises(InvalidQuery, match=hint):
        parse_query(document, object="o")


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ({"f": {}}, "where.f"),
        ({"f": {"$in": "x"}}, "where.f.$in"),
        ({"f": {"$gtt": 1}}, "where.f.$gtt"),
        ({"f": {"$between": [1]}}, "where.f.$between"),
        ({"f": {"$between": [None, 1]}}, "where.f.$between"),
        ({"f": {"$contains": ""}}, "where.f.$contains"),
        ({"f": {"$null": "yes"}}, "where.f.$null"),
        ({"f": [1, 2]}, "where.f"),
        ({"f": {"g": 1}}, "where.f"),
        ({"f": float("nan")}, "where.f"),
        ({"f": 2**53 + 1}, "where.f"),
        ({"f": {"$in": [1, -(2**53) - 1]}}, "where.f.$in[1]"),
        ({"f": {"$in": [{"$field": "g"}]}}, "where.f.$in[0]"),
        ({"f": {"$contains": {"$field": "g"}}}, "where.f.$contains"),
        ({"$or": {"a": 1}}, "where.$or"),
        ({"$or": [{"a": 1}, 5]}, "where.$or.1"),
        ({"$nor": []}, "where.$nor"),
        ({"a..b": 1}, "where.a..b"),
        (["total", ">"], "where"),
        (["total", "~~", 1], "where.1"),
        (["and"], "where"),
        ([["a", "=", 1], "xor", ["b", "=", 2]], "where.1"),
        ([["a", "=", 1], "and"], "where"),
        (["or", ["a", "=", 1], ["b", "in", 2]], "where.2.2"),
        ([1, 2, 3], "where.0"),
    ],
)
def test_filters_without_meaning_are_refused_with_their_place(where: Any, place: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_where(where)
    assert caught.value.path == place


def test_an_unknown_operator_suggests_its_neighbours() -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_where({"f": {"$startwith": "x"}})
    assert caught.value.suggestions[0] == "$startsWith"


def test_infix_and_binds_tighter_than_or() -> None:
    a, b, c = ["a", "=", 1], ["b", "=", 2], ["c", "=", 3]
    assert shape(parse_where([a, "or", b, "and", c])) == (
        "or",
        ("a", "eq", 1),
        ("and", ("b", "eq", 2), ("c", "eq", 3)),
    )
    nested = parse_where([[a, "or", b], "and", c])
    assert shape(nested)[0] == "and"


def test_conditions_compare_fields() -> None:
    assert shape(parse_where({"a": {"$gt": {"$field": "b.c"}}})) == ("a", "gt", ("b", "c"))


@pytest.mark.parametrize("form", ["object", "tuples", "text"])
def test_nesting_is_limited(form: str) -> None:
    def nest(depth: int) -> Any:
        if form == "text":
            return "(" * depth + "a eq 1" + ")" * depth
        where: Any = {"a": 1} if form == "object" else ["a", "=", 1]
        for _ in range(depth):
            where = {"$not": where} if form == "object" else [where]
        return where

    assert parse_where(nest(30))
    with pytest.raises(InvalidFilter, match="deeper"):
        parse_where(nest(40))


def test_lists_and_conditions_are_limited() -> None:
    with pytest.raises(QueryTooExpensive):
        parse_where({"a": {"$in": list(range(10_000))}})
    with pytest.raises(QueryTooExpensive):
        parse_where({"$or": [{"a": 1}] * 1_000})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a eq 1 and b ne 'x''y'", ("and", ("a", "eq", 1), ("b", "ne", "x'y"))),
        (
            "a eq 1 or b eq 2 and not c eq 3",
            ("or", ("a", "eq", 1), ("and", ("b", "eq", 2), ("not", ("c", "eq", 3)))),
        ),
        ("(a eq 1 or b eq 2) AND c le -1.5e3", None),
        ("contains(name,'x')", ("name", "contains", "x")),
        ("substringof('x',name) eq true", ("name", "contains", "x")),
        ("tags has 'red'", ("tags", "contains", "red")),
        ("a in (1, 'b', null)", ("a", "in", (1, "b", None))),
        ("a eq null", ("a", "null", True)),
        ("a ne null", ("a", "null", False)),
        ("origin/tz eq 'x'", ("origin.tz", "eq", "x")),
        ("on ge 2026-08-22", ("on", "gte", "2026-08-22")),
        ("at lt 2026-08-22T10:00:00Z", ("at", "lt", "2026-08-22T10:00:00Z")),
        ("at lt 2026-08-22T10:00:00+02:00", ("at", "lt", "2026-08-22T10:00:00+02:00")),
        ("t gt 09:30:00", ("t", "gt", "09:30:00")),
        (
            "id eq 01234567-89ab-cdef-0123-456789abcdef",
            ("id", "eq", "01234567-89ab-cdef-0123-456789abcdef"),
        ),
        ("owner eq @me and at le now()", None),
        ("flag eq TRUE", ("flag", "eq", True)),
    ],
)
def test_filter_texts_mean_what_odata_says(text: str, expected: Any) -> None:
    found = shape(parse_filter_text(text))
    assert found == (expected or found)


def test_me_and_now_become_tokens() -> None:
    assert shape(parse_filter_text("owner eq @me")) == ("owner", "eq", "{current_user_id}")
    assert shape(parse_filter_text("at le now()")) == ("at", "lte", "{now}")


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("a eq", 4),
        ("a", 1),
        ("a equals 1", 2),
        ("a eq 'x", 5),
        ("(a eq 1", 7),
        ("a eq 1)", 6),
        ("a eq 1 b eq 2", 7),
        ("a in ()", 6),
        ("contain(a,'x')", 0),
        ("contains(a,5)", 11),
        ("a eq x", 5),
        ("", 0),
        ("a eq 1 # b", 7),
        ("'x' eq a", 0),
        ("a eq 99999999999999999999", 5),
    ],
)
def test_filter_texts_that_cannot_be_read_tell_the_position(text: str, position: int) -> None:
    with pytest.raises(InvalidFilter) as caught:
        parse_filter_text(text)
    assert caught.value.position == position


def test_filter_texts_have_a_longest_length() -> None:
    with pytest.raises(InvalidFilter, match="8192"):
        parse_filter_text("a eq '" + "x" * 8192 + "'")


def test_expand_is_a_map_a_list_or_a_comma_list() -> None:
    expected = (Expand("a", Query(object="")), Expand("b", Query(object="")))
    spellings: list[Any] = [{"a": {}, "b": True}, ["a", "b"], "a, b"]
    for value in spellings:
        assert parse_query({"populate": value}, object="o").expand == expected


def test_every_refusal_has_a_code_and_a_message() -> None:
    with pytest.raises(ObjectQLError) as caught:
        parse_where({"f": {"$regex": "x", "$options": "i"}})
    assert caught.value.to_info().code == "INVALID_FILTER"
    assert "$icontains" in caught.value.message


@pytest.mark.parametrize(
    ("inner", "place"),
    [
        ({"where": {"a": {"$gt": [1]}}}, "expand.x.expand.y.where.a.$gt"),
        ({"where": [["a", "near", 1]]}, "expand.x.expand.y.where.0.1"),
        ({"where": "a eq"}, "expand.x.expand.y.where"),
        ({"orderBy": [3]}, "expand.x.expand.y.orderBy.0"),
        ({"limit": -1}, "expand.x.expand.y.limit"),
        ({"wher": {}}, "expand.x.expand.y.wher"),
        ({"count": "estimated"}, "expand.x.expand.y.count"),
        ({"expand": {"z": {"expand": {"w": 1}}}}, "expand.x.expand.y.expand.z.expand"),
    ],
)
def test_mistakes_inside_relations_tell_their_whole_place(inner: Any, place: str) -> None:
    with pytest.raises((InvalidQuery, InvalidFilter)) as caught:
        parse_query({"expand": {"x": {"expand": {"y": inner}}}}, object="o")
    assert caught.value.path == place


def test_groups_and_aggregates_have_a_short_form() -> None:
    short = {
        "groupBy": "origin.tz, time_hour:month as m",
        "aggregations": "count, COUNT() as n,sum( distance ) AS miles, count_distinct(tailnum)",
    }
    long = {
        "groupBy": [
            {"field": "origin.tz"},
            {"field": "time_hour", "dateGranularity": "month", "alias": "m"},
        ],
        "aggregations": [
            {"function": "count"},
            {"function": "count", "alias": "n"},
            {"function": "sum", "field": "distance", "alias": "miles"},
            {"function": "count_distinct", "field": "tailnum"},
        ],
    }
    assert parse_query(short, object="o") == parse_query(long, object="o")


@pytest.mark.parametrize(
    "document",
    [
        {"groupBy": "a:hour"},
        {"groupBy": 7},
        {"aggregations": "sum"},
        {"aggregations": "sum(a"},
        {"aggregations": "median(a)"},
        {"aggregations": ["count", 7]},
        {"after": "x", "offset": 1},
    ],
)
def test_short_forms_and_pages_without_meaning_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises(InvalidQuery):
        parse_query(document, object="o")


def test_tokens_stand_in_filter_texts_as_they_are() -> None:
    bare = parse_filter_text("day ge {30_days_ago} and by eq {current_user.id}")
    quoted = parse_filter_text("day ge '{30_days_ago}' and by eq '{current_user.id}'")
    assert shape(bare) == shape(quoted)
