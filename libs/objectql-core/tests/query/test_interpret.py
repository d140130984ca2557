from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from objectql.query.groups import bucket_label
from objectql.testing.samples import ids, run

ROWS: dict[str, list[dict[str, Any]]] = {
    "invoice": [
        {"id": "1", "number": "b", "total": Decimal("0.10"), "tags": ["x"], "lines": 1},
        {"id": "2", "number": "B", "total": Decimal("0.20"), "tags": ["y", "x"], "lines": 2},
        {"id": "3", "number": "é", "total": None, "tags": None, "lines": 1},
        {"id": "4", "number": None, "total": Decimal("0.20"), "tags": [], "lines": None},
    ]
}


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("number", ["2", "1", "3", "4"]),
        ("-number", ["4", "3", "1", "2"]),
        ("total", ["1", "2", "4", "3"]),
        ("-total", ["3", "2", "4", "1"]),
        ("-total,-number", ["3", "4", "2", "1"]),
    ],
)
def test_nulls_come_last_ascending_and_text_sorts_by_code_point(
    order: str, expected: list[str]
) -> None:
    assert ids(run({"orderBy": order}, ROWS)) == expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"number": {"$like": "%"}}, ["1", "2", "3"]),
        ({"number": {"$like": "_"}}, ["1", "2", "3"]),
        ({"number": {"$like": "B"}}, ["2"]),
        ({"number": {"$ilike": "b%"}}, ["1", "2"]),
        ({"number": {"$ilike": "É"}}, []),
        ({"tags": "x"}, ["1", "2"]),
        ({"tags": {"$notContains": "x"}}, ["3", "4"]),
        ({"tags": {"$null": True}}, ["3"]),
        ({"total": {"$gt": "0.1"}}, ["2", "4"]),
        ({"lines": {"$gt": {"$field": "lines"}}}, []),
        ({"lines": {"$ne": {"$field": "lines"}}}, ["4"]),
        ({"$not": {"lines": {"$gt": 1}}}, ["1", "3", "4"]),
    ],
)
def test_conditions_select(where: dict[str, Any], expected: list[str]) -> None:
    assert ids(run({"where": where}, ROWS)) == expected


def test_a_page_tells_whether_more_follows() -> None:
    answer = run({"limit": 2, "count": True, "orderBy": "-total"}, ROWS)
    assert (answer.has_next, answer.total) == (True, 4)
    assert answer.last_key == (Decimal("0.20"), "2")
    answer = run({"limit": 2, "offset": 2}, ROWS)
    assert (answer.has_next, answer.last_key, answer.total) == (False, None, None)
    assert run({"limit": 0}, ROWS).has_next is False
    assert run({"limit": 2, "offset": 9}, ROWS).items == []


def test_distinct_answers_hold_each_combination_once() -> None:
    answer = run({"distinct": True, "fields": ["lines"], "count": True}, ROWS)
    assert answer.items == [{"lines": 1}, {"lines": 2}, {"lines": None}]
    assert answer.total == 3


def test_aggregates_over_nothing_are_one_row() -> None:
    functions = ["count", "sum", "avg", "min", "max", "count_distinct"]
    document = {"aggregations": [{"function": f, "field": "total", "alias": f} for f in functions]}
    (row,) = run(document, {}).items
    assert row == {
        "count": 0,
        "sum": None,
        "avg": None,
        "min": None,
        "max": None,
        "count_distinct": 0,
    }


def test_groups_have_default_aliases_filters_and_having() -> None:
    document = {
        "groupBy": ["lines"],
        "aggregations": [
            {"function": "sum", "field": "total"},
            {"function": "count"},
            {"function": "count", "alias": "big", "filter": {"total": {"$gt": "0.1"}}},
        ],
        "having": {"count": {"$gt": 0}, "lines": {"$null": False}},
        "orderBy": "-count",
    }
    assert run(document, ROWS).items == [
        {"lines": 1, "sum_total": Decimal("0.10"), "count": 2, "big": 0},
        {"lines": 2, "sum_total": Decimal("0.20"), "count": 1, "big": 1},
    ]


@pytest.mark.parametrize(
    ("moment", "granularity", "label"),
    [
        ("2026-08-22T10:00:00.000Z", "day", "2026-08-22"),
        ("2026-08-22", "week", "2026-W34"),
        ("2025-12-29", "week", "2026-W01"),
        ("2027-01-01", "week", "2026-W53"),
        ("2026-08-22", "month", "2026-08"),
        ("2026-08-22", "quarter", "2026-Q3"),
        ("2026-12-31", "quarter", "2026-Q4"),
        ("1969-12-31", "year", "1969"),
    ],
)
def test_dates_are_grouped_under_the_documented_labels(
    moment: str, granularity: Any, label: str
) -> None:
    assert bucket_label(moment, granularity) == label


def test_patterns_cannot_take_exponential_time() -> None:
    rows = {"invoice": [{"id": "1", "number": "a" * 2_000}]}
    assert ids(run({"where": {"number": {"$like": "%%%%%%%%%%%%%%%%%%%%%%b"}}}, rows)) == []
