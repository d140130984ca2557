"""How a connection of asyncpg sends and takes the types that statements use.

By itself it takes the first and the last date and instant for infinity. `9999-12-31` is a day like
any other, and a common way to say "for ever": compared as infinity, it would equal no record that
has it. And it asks the server about a type when a connection first meets it, with three statements;
arrays are such types, so the first `in` of each connection would wait for that.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

import asyncpg  # noqa: TID251 - this package is the home of the database drivers

_IN_LISTS: Final = (
    *("text", "bigint", "double precision", "numeric"),
    *("boolean", "date", "timestamptz", "time"),
)
_EVERY_ARRAY: Final = "SELECT " + ", ".join(
    f"${at}::{name}[]" for at, name in enumerate(_IN_LISTS, 1)
)
_DAY_ZERO: Final = date(2000, 1, 1)
_ZERO: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


async def use_our_types(connection: asyncpg.Connection) -> None:
    """Have `connection` send every `date` and aware `datetime` as what it is, and know arrays."""
    for name, encode, decode in (
        ("date", _days_of, _day_of),
        ("timestamptz", _microseconds_of, _moment_of),
    ):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=encode, decoder=decode, format="tuple"
        )
    await connection.fetch(_EVERY_ARRAY, *[None] * len(_IN_LISTS))


# Postgres counts days and microseconds from the beginning of the year 2000.


def _days_of(day: date) -> tuple[int]:
    return ((day - _DAY_ZERO).days,)


def _day_of(wire: tuple[int]) -> date:
    return _DAY_ZERO + timedelta(days=wire[0])


def _microseconds_of(moment: datetime) -> tuple[int]:
    return ((moment - _ZERO) // _MICROSECOND,)


def _moment_of(wire: tuple[int]) -> datetime:
    return _ZERO + wire[0] * _MICROSECOND
