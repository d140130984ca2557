"""Dates and instants for asyncpg, which by itself takes the first and the last for infinity.

`9999-12-31` is a day like any other, and a common way to say "for ever": compared as infinity, it
would equal no record that has it.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

import asyncpg  # noqa: TID251 - this package is the home of the database drivers

_DAY_ZERO: Final = date(2000, 1, 1)
_ZERO: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


async def use_exact_dates(connection: asyncpg.Connection) -> None:
    """Have `connection` send and take every `date` and aware `datetime` as what it is.

    Postgres counts days and microseconds from the beginning of the year 2000.
    """
    await connection.set_type_codec(
        "date",
        schema="pg_catalog",
        encoder=lambda day: ((day - _DAY_ZERO).days,),
        decoder=lambda wire: _DAY_ZERO + timedelta(days=wire[0]),
        format="tuple",
    )
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        encoder=lambda moment: ((moment - _ZERO) // _MICROSECOND,),
        decoder=lambda wire: _ZERO + wire[0] * _MICROSECOND,
        format="tuple",
    )
