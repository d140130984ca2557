"""Functions of days and instants, which are canonical texts in UTC (see `objectql.values`).

What lies outside the years 1 to 9999 is blank.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from objectql.formula.numbers import whole_within
from objectql.values import instant_of_ms

MAX_DAYS: Final = 4_000_000
MAX_MONTHS: Final = 120_000
MS_PER_DAY: Final = 86_400_000
MAX_MS: Final = 400_000_000_000_000
_MIN_MS: Final = -62_135_596_800_000
_END_MS: Final = 253_402_300_800_000
_EPOCH: Final = date(1970, 1, 1).toordinal()
_MONTHS: Final = 12
_LAST_YEAR: Final = 9999


def day_of(instant: str) -> str:
    """The day of an instant."""
    return instant[:10]


def instant_of(day: str) -> str:
    """The midnight that begins a day."""
    return f"{day}T00:00:00.000Z"


def year(day: str) -> Decimal:
    return Decimal(int(day[:4]))


def month(day: str) -> Decimal:
    return Decimal(int(day[5:7]))


def day_of_month(day: str) -> Decimal:
    return Decimal(int(day[8:10]))


def weekday(day: str) -> Decimal:
    """0 is Sunday, 6 is Saturday."""
    return Decimal(date.fromisoformat(day).isoweekday() % 7)


def hour(instant: str) -> Decimal:
    return Decimal(int(instant[11:13]))


def minute(instant: str) -> Decimal:
    return Decimal(int(instant[14:16]))


def second(instant: str) -> Decimal:
    return Decimal(int(instant[17:19]))


def unix_ms(instant: str) -> Decimal:
    """Milliseconds since 1970."""
    days = date.fromisoformat(instant[:10]).toordinal() - _EPOCH
    seconds = int(instant[11:13]) * 3600 + int(instant[14:16]) * 60 + int(instant[17:19])
    return Decimal(days * MS_PER_DAY + seconds * 1000 + int(instant[20:23]))


def days_between(start: str, end: str) -> Decimal:
    """How many days after `start` the day `end` is."""
    return Decimal(date.fromisoformat(end).toordinal() - date.fromisoformat(start).toordinal())


def add_days(day: str, count: Decimal) -> str | None:
    ordinal = date.fromisoformat(day).toordinal() + whole_within(count, -MAX_DAYS, MAX_DAYS)
    return _day(ordinal)


def add_months(day: str, count: Decimal) -> str | None:
    """The same day so many months later, or the last of that month."""
    months = int(day[:4]) * _MONTHS + int(day[5:7]) - 1
    months += whole_within(count, -MAX_MONTHS, MAX_MONTHS)
    found, index = divmod(months, _MONTHS)
    if not 1 <= found <= _LAST_YEAR:
        return None
    return f"{found:04}-{index + 1:02}-{min(int(day[8:10]), _days_in(found, index + 1)):02}"


def add_months_to_instant(instant: str, count: Decimal) -> str | None:
    """As `add_months`, at the same time of day."""
    day = add_months(instant[:10], count)
    return None if day is None else day + instant[10:]


def add_ms(instant: str, count: Decimal) -> str | None:
    """The instant so many milliseconds later."""
    moment = int(unix_ms(instant)) + whole_within(count, -MAX_MS, MAX_MS)
    return instant_of_ms(moment) if _MIN_MS <= moment < _END_MS else None


def day_from(year_: Decimal, month_: Decimal, day: Decimal) -> str | None:
    """The day; a month beyond the twelfth is in the next year, and so with days."""
    months = whole_within(year_, -_LAST_YEAR, 2 * _LAST_YEAR) * _MONTHS
    months += whole_within(month_, -MAX_MONTHS, MAX_MONTHS) - 1
    found, index = divmod(months, _MONTHS)
    if not 1 <= found <= _LAST_YEAR:
        return None
    first = date(found, index + 1, 1).toordinal()
    return _day(first + whole_within(day, -MAX_DAYS, MAX_DAYS) - 1)


def _day(ordinal: int) -> str | None:
    is_day = 1 <= ordinal <= date.max.toordinal()
    return date.fromordinal(ordinal).isoformat() if is_day else None


def _days_in(year_: int, month_: int) -> int:
    if month_ == _MONTHS:
        return 31
    following = datetime(year_, month_ + 1, 1, tzinfo=UTC)
    return (following - timedelta(days=1)).day
