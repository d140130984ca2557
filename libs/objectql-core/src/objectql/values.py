"""The values of records, and the one rule by which every driver orders and compares them.

In the engine a value has one canonical form per storage class: text is `str`; numbers are `int`,
`float` or `Decimal`; a date is `"2026-08-22"`, an instant `"2026-08-22T10:00:00.000Z"` (UTC,
milliseconds), a time `"14:30:00"` (with `.500` only when not zero); JSON is `dict` and `list`.
Canonical dates, instants and times sort as text in the order of time. Text sorts by code point
(Postgres: `COLLATE "C"`). Nulls sort last ascending and first descending.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

Value: TypeAlias = "None | bool | int | float | Decimal | str | list[Any] | dict[str, Any]"
Record: TypeAlias = dict[str, Value]

MAX_SAFE_INTEGER = 2**53
"""Beyond it a JSON number is not exact in every client, so it is refused."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_TIME = re.compile(r"(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?\Z")
_INSTANT = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?"
    r"(?:([Zz])|([+-])(\d{2}):?(\d{2}))\Z"
)


def is_day(text: str) -> bool:
    """Whether `text` has the shape of a bare day (which may still not be in the calendar)."""
    return _DATE.match(text) is not None


def canonical_date(text: str) -> str:
    """`text` (`YYYY-MM-DD`) if it is a day of the calendar.

    Raises:
        ValueError: it is not.

    """
    if _DATE.match(text) is None:
        raise ValueError("a date is written YYYY-MM-DD")
    date.fromisoformat(text)
    return text


def canonical_time(text: str) -> str:
    """`HH:MM[:SS[.fff]]` in its one spelling: `HH:MM:SS`, with `.fff` only when not zero.

    Raises:
        ValueError: not a time of day.

    """
    match = _TIME.match(text)
    if match is None:
        raise ValueError("a time is written HH:MM or HH:MM:SS")
    hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
    millis = int((match[4] or "0").ljust(3, "0")[:3])
    time(hour, minute, second)
    return f"{hour:02}:{minute:02}:{second:02}" + (f".{millis:03}" if millis else "")


def canonical_instant(text: str) -> str:
    """An RFC 3339 date and time with a zone, as UTC with milliseconds; finer parts are cut.

    A bare day is its midnight in UTC.

    Raises:
        ValueError: not an instant between the years 1 and 9999.

    """
    if _DATE.match(text):
        return f"{canonical_date(text)}T00:00:00.000Z"
    match = _INSTANT.match(text)
    if match is None:
        raise ValueError("a date and time is written YYYY-MM-DDTHH:MM:SSZ (or with an offset)")
    moment = datetime.fromisoformat(f"{match[1]}T{match[2]}:{match[3]}:{match[4] or '00'}+00:00")
    if match[7]:
        offset = timedelta(hours=int(match[8]), minutes=int(match[9]))
        try:
            moment = moment - offset if match[7] == "+" else moment + offset
        except OverflowError as exc:
            raise ValueError("the date is out of range") from exc
    millis = (match[5] or "").ljust(3, "0")[:3]
    return f"{moment.isoformat()[:19]}.{millis}Z"


def instant_of_ms(unix_ms: int) -> str:
    """Unix milliseconds as a canonical instant."""
    moment = datetime.fromtimestamp(unix_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{unix_ms % 1000:03}Z"


def sort_key(value: Value) -> tuple[int, Any]:
    """A key that sorts values of one field as every driver must: nulls last, false before true."""
    return (1, 0) if value is None else (0, value)
