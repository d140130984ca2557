"""From the rows of a lowered query to the answers of the port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from objectql.drivers.protocol import Lowered, Page, RecordImage
from objectql.drivers.sql.lower import LoweredSql
from objectql.values import Value


def lowered_sql(query: Lowered) -> LoweredSql:
    """`query` as the form that SQL drivers make.

    Raises:
        TypeError: it was lowered by another kind of driver.

    """
    if not isinstance(query, LoweredSql):
        raise TypeError(f"{type(query).__name__} was not lowered for an SQL database")
    return query


Run: TypeAlias = Callable[[str, Sequence[object]], Awaitable[Sequence[Sequence[Any]]]]
"""Runs one statement with its arguments."""


class Source(NamedTuple):
    """Where statements run; a replica may be behind the primary."""

    run: Run
    is_replica: bool = False


async def fetch_page(lowered: LoweredSql, params: Sequence[Value], source: Source) -> Page:
    """The page that `lowered` asks for."""
    return page_of(
        await source.run(lowered.text, lowered.arguments(params)), is_replica=source.is_replica
    )


async def fetch_record(
    lowered: LoweredSql, params: Sequence[Value], source: Source
) -> RecordImage | None:
    """The record that `lowered` asks for."""
    return record_of(
        await source.run(lowered.text, lowered.arguments(params)), is_replica=source.is_replica
    )


async def fetch_pages(
    lowered: LoweredSql, params: Sequence[Sequence[Value]], source: Source
) -> list[Page]:
    """The page for each of `params`, from one statement."""
    rows = await source.run(lowered.each.text, lowered.arguments_of_each(params))
    return [page_of((row,), is_replica=source.is_replica) for row in rows]


async def fetch_records(
    lowered: LoweredSql, params: Sequence[Sequence[Value]], source: Source
) -> list[RecordImage | None]:
    """The record for each of `params`, from one statement."""
    rows = await source.run(lowered.each.text, lowered.arguments_of_each(params))
    return [record_of((row,), is_replica=source.is_replica) for row in rows]


def page_of(rows: Sequence[Sequence[Any]], *, is_replica: bool = False) -> Page:
    """The page in the one row of a list or of groups."""
    items, count, has_next, last_key, total = rows[0]
    return Page(
        _bytes(items),
        int(count),
        bool(has_next),
        _bytes(last_key) if has_next and last_key is not None else None,
        None if total is None else int(total),
        is_replica,
    )


def record_of(rows: Sequence[Sequence[Any]], *, is_replica: bool = False) -> RecordImage | None:
    """The record in the rows (JSON, version) of a read of one; None when there is none."""
    if not rows or rows[0][0] is None:
        return None
    return RecordImage(_bytes(rows[0][0]), int(rows[0][1]), is_replica)


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value
