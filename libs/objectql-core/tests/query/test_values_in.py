from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from objectql.errors import InvalidFilter
from objectql.testing.samples import ids, run

ROW = {
    "id": "i1",
    "number": "42",
    "status": "u1",
    "total": Decimal("10.50"),
    "score": 2.5,
    "lines": 3,
    "late": True,
    "issued": "2026-07-28",
    "sent_at": "2026-07-28T12:00:00.000Z",
}


def matches(where: dict[str, Any], timezone: str = "UTC") -> bool:
    return bool(ids(run({"where": where}, {"invoice": [ROW]}, timezone=timezone)))


@pytest.mark.parametrize(
    "where",
    [
        {"number": 42},
        {"total": "10.5"},
        {"total": 10.5},
        {"total": {"$in": ["10.50", 3]}},
        {"score": "2.5"},
        {"lines": "3"},
        {"lines": 3.0},
        {"lines": {"$gt": 2.5}},
        {"lines": {"$lt": 3.5}},
        {"lines": {"$gte": 2.5}},
        {"lines": {"$lte": 3.5}},
        {"lines": {"$between": [2.5, 3.5]}},
        {"late": "true"},
        {"issued": "{today}"},
        {"issued": "{now}"},
        {"sent_at": "2026-07-28T14:00:00+02:00"},
        {"sent_at": "{now}"},
        {"sent_at": {"$gt": "{1_hours_ago}", "$lt": "{5_minutes_from_now}"}},
        {"sent_at": {"$lte": "{today}"}},
        {"status": "@me"},
        {"status": "{current_user_id}"},
        {"status": {"$in": ["x", "$current_user.id"]}},
        {"status": {"$ne": "{current_user.missing}"}},
    ],
    ids=str,
)
def test_literals_take_the_form_of_their_field(where: dict[str, Any]) -> None:
    assert matches(where)


@pytest.mark.parametrize(
    "where",
    [
        {"lines": {"$gt": 3.5}},
        {"lines": {"$lt": 2.5}},
        {"lines": {"$gte": 3.5}},
        {"lines": {"$lte": 2.5}},
        {"status": "{current_user.missing}"},
        {"number": {"$contains": "{today}"}},
        {"sent_at": {"$gt": "2026-07-28T12:00:00Z"}},
        {"sent_at": "2026-07-28"},
    ],
    ids=str,
)
def test_literals_keep_their_meaning(where: dict[str, Any]) -> None:
    assert not matches(where)


@pytest.mark.parametrize(
    "where",
    [
        {"total": "ten"},
        {"total": "NaN"},
        {"total": "1e9999"},
        {"total": True},
        {"score": "1e999"},
        {"score": "1_000"},
        {"lines": 2.5},
        {"lines": "9007199254740993"},
        {"late": 1},
        {"issued": "2026-02-30"},
        {"issued": 5},
        {"issued": "2026-07-28T00:00:00Z"},
        {"sent_at": "2026-07-28T12:00:00"},
        {"sent_at": "yesterday"},
        {"sent_at": {"$lte": "2026-02-30"}},
        {"number": "{tomorow}"},
        {"number": "a\0b"},
        {"number": "\ud800"},
        {"number": "x" * 100_000},
        {"issued": "{999999_years_ago}"},
        {"issued": {"$in": ["2026-07-28", "x"]}},
    ],
    ids=lambda where: ascii(where)[:60],
)
def test_literals_that_do_not_fit_are_refused_with_their_place(where: dict[str, Any]) -> None:
    with pytest.raises(InvalidFilter) as caught:
        matches(where)
    assert caught.value.path.startswith("where.")


def test_an_unknown_token_suggests_its_neighbour() -> None:
    with pytest.raises(InvalidFilter, match=r"did you mean \{tomorrow\}"):
        matches({"issued": "{tomorow}"})


@pytest.mark.parametrize(
    ("token", "day"),
    [
        ("{yesterday}", "2026-07-27"),
        ("{tomorrow}", "2026-07-29"),
        ("{2_days_ago}", "2026-07-26"),
        ("{1_week_from_now}", "2026-08-04"),
        ("{5_months_ago}", "2026-02-28"),
        ("{1_years_from_now}", "2027-07-28"),
        ("{current_week_start}", "2026-07-27"),
        ("{current_week_end}", "2026-08-02"),
        ("{last_week_start}", "2026-07-20"),
        ("{month_start}", "2026-07-01"),
        ("{next_month_end}", "2026-08-31"),
        ("{last_month_end}", "2026-06-30"),
        ("{current_quarter_start}", "2026-07-01"),
        ("{last_quarter_end}", "2026-06-30"),
        ("{next_quarter_start}", "2026-10-01"),
        ("{year_start}", "2026-01-01"),
        ("{last_year_end}", "2025-12-31"),
    ],
)
def test_date_tokens_are_days_of_the_calendar(token: str, day: str) -> None:
    rows = {"invoice": [{"id": "i1", "issued": day}]}
    assert ids(run({"where": {"issued": token}}, rows)) == ["i1"]


def test_days_are_those_of_the_business_time_zone() -> None:
    assert matches({"issued": "{today}"}, timezone="Europe/Berlin")
    assert matches({"issued": "{yesterday}"}, timezone="Pacific/Kiritimati")
