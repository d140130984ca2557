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
from functools import lru_cache
from typing import Any, TypeAlias

Value: TypeAlias = "None | bool | int | float | Decimal | str | list[Any] | dict[str, Any]"
Record: TypeAlias = dict[str, Value]

MAX_SAFE_INTEGER = 2**53
"""Beyond it a JSON number is not exact in every client, so it is refused."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_TIME = re.compile(r"(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?\Z")
_INSTANT = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?"
    r"(?:[Zz]|[+-]00:?00|([+-])(\d{2}):?(\d{2}))\Z"
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
    match = _INSTANT.match(text)
    if match is None:
        if _DATE.match(text):
            return f"{canonical_date(text)}T00:00:00.000Z"
        raise ValueError("a date and time is written YYYY-MM-DDTHH:MM:SSZ (or with an offset)")
    day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    moment = datetime.fromisoformat(f"{day}T{hour}:{minute}:{second or '00'}")
    if sign:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        try:
            moment = moment - offset if sign == "+" else moment + offset
        except OverflowError as exc:
            raise ValueError("the date is out of range") from exc
    millis = fraction[:3].ljust(3, "0") if fraction else "000"
    return f"{moment.isoformat()}.{millis}Z"


def instant_of_ms(unix_ms: int) -> str:
    """Unix milliseconds as a canonical instant."""
    return f"{_second(unix_ms // 1000)}.{unix_ms % 1000:03}Z"


@lru_cache(maxsize=8)  # every request asks for the instant of now
def _second(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat()[:19]


def sort_key(value: Value) -> tuple[int, Any]:
    """A key that sorts values of one field as every driver must: nulls last, false before true."""
    return (1, 0) if value is None else (0, value)
