from __future__ import annotations

from typing import Any

import msgspec
import pytest

from objectql.errors import FieldUnknown, InvalidFilter, InvalidQuery, QueryParamUnknown
from objectql.query.ast import Compare, Op
from objectql.query.parse import parse_query
from objectql.query.url import Dialect, UrlQuery, parse_url


def ask(dialect: Dialect = "odata", /, **params: str) -> UrlQuery:
    pairs = [(name.replace("S_", "$"), value) for name, value in params.items()]
    return parse_url("invoice", pairs, dialect=dialect, fields=("status", "total"))


def strip(query: Any) -> Any:
    if isinstance(query.where, Compare):
        where = msgspec.structs.replace(query.where, at="")
        return msgspec.structs.replace(query, where=where)
    return query


@pytest.mark.parametrize(
    "found",
    [
        ask(
            S_filter="total gt 5",
            S_select="id,number",
            S_orderby="total desc,id",
            S_top="5",
            S_skip="10",
            S_expand="account",
        ),
        ask(
            "objectql",
            filter='[["total",">",5]]',
            fields='["id","number"]',
            sort="total:desc,id:asc",
            limit="5",
            page="3",
            expand='{"account":{}}',
        ),
        ask(
            "v1",
            filters='{"total":{"$gt":5}}',
            select="id,number",
            orderBy="-total,id",
            top="5",
            offset="10",
            populate="account",
        ),
    ],
    ids=["odata", "objectql", "v1"],
)
def test_the_three_dialects_ask_for_the_same(found: UrlQuery) -> None:
    document = {
        "where": {"total": {"$gt": 5}},
        "fields": ["id", "number"],
        "orderBy": ["-total", "id"],
        "limit": 5,
        "offset": 10,
        "expand": ["account"],
    }
    assert strip(found.query) == strip(parse_query(document, object="invoice"))


def test_expand_options_are_a_sub_query() -> None:
    text = "account($select=name,tier;$expand=owner($select=name);$filter=tier eq 'a,;)b'),payers"
    (account, payers) = ask(S_expand=text).query.expand
    assert account.query.fields == (("name",), ("tier",))
    assert account.query.expand[0].name == "owner"
    assert isinstance(account.query.where, Compare)
    assert account.query.where.value == "a,;)b"
    assert payers.name == "payers"


@pytest.mark.parametrize(
    "text", ["a(", "a)", "a($select=x", "a($pick=x)", "a()b", "a('x", ",a", "a,a", "a($top=x)"]
)
def test_expand_texts_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(InvalidQuery):
        ask(S_expand=text)


def test_bare_fields_are_filters_on_v1_only() -> None:
    where = ask("v1", status="open").query.where
    assert isinstance(where, Compare)
    assert (where.op, where.value) == (Op.EQ, "open")
    where = ask("v1", status="open,sent").query.where
    assert isinstance(where, Compare)
    assert (where.op, where.value) == (Op.IN, ("open", "sent"))
    with pytest.raises(QueryParamUnknown):
        ask("odata", status="open")
    with pytest.raises(FieldUnknown) as caught:
        ask("v1", statu="open")
    assert caught.value.suggestions == ("status",)


def test_an_object_in_a_bare_parameter_is_refused_with_the_way_out() -> None:
    with pytest.raises(InvalidFilter, match="POST"):
        ask("v1", total="[object Object]")


def test_unknown_dollar_parameters_suggest_their_neighbours() -> None:
    with pytest.raises(QueryParamUnknown) as caught:
        ask("v1", S_fliter="x")
    assert "$filter" in caught.value.suggestions


@pytest.mark.parametrize(
    "params",
    [
        {"S_top": "5", "limit": "6"},
        {"S_filter": "total gt 5", "filter": '{"total":6}'},
        {"page": "2"},
        {"page": "0", "pageSize": "5"},
        {"page": "2", "pageSize": "5", "S_skip": "1"},
        {"S_top": "-1"},
        {"S_count": "maybe"},
        {"S_filter": ""},
        {"filter": "{"},
        {"envelope": "1"},
    ],
)
def test_contradictions_and_nonsense_are_refused(params: dict[str, str]) -> None:
    with pytest.raises((InvalidQuery, InvalidFilter)):
        ask("odata", **params)


def test_flags_stand_beside_the_query() -> None:
    found = ask(envelope="true", explain="true", S_count="true", S_search="acme corp")
    assert (found.envelope, found.explain, found.total) == (True, "plan", True)
    assert found.query.count == "exact"
    assert found.query.search is not None
    assert ask().total is None
    assert ask("v1", count="false").total is False


def test_integers_beyond_the_exact_range_are_refused_in_json() -> None:
    with pytest.raises(InvalidFilter, match="2\\^53"):
        ask(filter='{"total": 9007199254740993}')


def test_a_url_groups_and_chooses_groups_as_a_document_does() -> None:
    found = parse_url(
        "flight",
        [
            ("groupBy", "origin.tz,time_hour:month as m"),
            ("aggregations", "count as n,sum(distance)"),
            ("having", "n gt 100"),
            ("$orderby", "n desc"),
        ],
        dialect="odata",
    )
    document = {
        "groupBy": ["origin.tz", "time_hour:month as m"],
        "aggregations": ["count as n", "sum(distance)"],
        "having": "n gt 100",
        "orderBy": "n desc",
    }
    assert found.query == parse_query(document, object="flight")


def test_related_records_are_counted_on_request() -> None:
    pairs = [("$expand", "flight($count=true;$top=0)")]
    [relation] = parse_url("airport", pairs, dialect="odata").query.expand
    assert (relation.query.count, relation.query.limit) == ("exact", 0)


def test_a_key_that_stands_twice_is_refused() -> None:
    with pytest.raises(InvalidQuery, match='"a" stands twice'):
        parse_url("flight", [("filter", '{"a": {"$gt": 1}, "a": 2}')], dialect="v1")
