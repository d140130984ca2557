"""Canonical forms: one spelling, and text order is time order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.values import canonical_date, canonical_instant, canonical_time, instant_of_ms

ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(
    min_value=datetime(2, 1, 1),  # noqa: DTZ001 - the zone comes from `timezones`
    max_value=datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=ZONES,
)


@given(MOMENTS)
def test_any_spelling_of_an_instant_has_one_canonical_form(moment: datetime) -> None:
    utc = moment.astimezone(UTC)
    expected = f"{utc:%Y-%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03}Z".rjust(24, "0")
    assert canonical_instant(moment.isoformat()) == expected
    assert canonical_instant(utc.isoformat().replace("+00:00", "Z")) == expected
    assert canonical_instant(expected) == expected


@given(MOMENTS, MOMENTS)
def test_canonical_instants_sort_as_time(a: datetime, b: datetime) -> None:
    earlier, later = sorted((a, b))
    assert canonical_instant(earlier.isoformat()) <= canonical_instant(later.isoformat())


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30",
        "2026-13-01T00:00:00Z",
        "2026-01-01T25:00:00Z",
        "2026-01-01T10:00:00",
        "yesterday",
        "0001-01-01T00:00:00+10:00",
        "2026-01-01T10:00:00Z ",
        "",
    ],
)
def test_what_is_not_an_instant(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical_instant(text)


def test_dates_are_days_of_the_calendar() -> None:
    assert canonical_date("2024-02-29") == "2024-02-29"
    with pytest.raises(ValueError, match="day"):
        canonical_date("2023-02-29")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("14:30", "14:30:00"), ("14:30:05.5", "14:30:05.500"), ("14:30:05.000", "14:30:05")],
)
def test_times_have_one_spelling(text: str, expected: str) -> None:
    assert canonical_time(text) == expected


@pytest.mark.parametrize("text", ["24:00", "1:00", "12:60", "12:00:61", "noon"])
def test_what_is_not_a_time(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        canonical_time(text)


def test_unix_milliseconds_become_instants() -> None:
    assert instant_of_ms(1_357_034_400_123) == "2013-01-01T10:00:00.123Z"
