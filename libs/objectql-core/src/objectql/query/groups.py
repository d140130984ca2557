"""Groups and aggregates over plain rows, for the oracle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from objectql.metadata.types import Storage
from objectql.query.ast import Granularity
from objectql.query.bound import Aggregate, Grouping, GroupKey
from objectql.query.matching import Lookup, matches, value_at
from objectql.values import Record, Value


def make_groups(
    grouping: Grouping, rows: Sequence[Record], params: Sequence[Value], lookup: Lookup
) -> list[dict[str, Any]]:
    """One mapping per group that `having` selects: keys, then aggregates, by alias.

    Without keys there is exactly one group, even over no rows.
    """
    buckets: dict[tuple[Value, ...], list[Record]] = {} if grouping.keys else {(): []}
    for row in rows:
        key = tuple(_key_value(item, row, params, lookup) for item in grouping.keys)
        buckets.setdefault(key, []).append(row)
    groups: list[dict[str, Any]] = []
    for key, members in buckets.items():
        group: dict[str, Any] = {
            item.alias: value for item, value in zip(grouping.keys, key, strict=True)
        }
        for item in grouping.aggregates:
            group[item.alias] = _aggregate(item, members, params, lookup)
        if matches(grouping.having, group, params, lookup):
            groups.append(group)
    return groups


def _key_value(key: GroupKey, row: Record, params: Sequence[Value], lookup: Lookup) -> Value:
    value = value_at(key.column, row, lookup, params)
    if key.granularity is None or not isinstance(value, str):
        return value
    return bucket_label(value, key.granularity)


def bucket_label(moment: str, granularity: Granularity) -> str:
    """The period of a canonical date or instant (UTC): `2026-08-22`, `2026-W34`, `2026-Q3`, ...

    Weeks are those of ISO 8601, so the year of a label may be a neighbour of the date's.
    """
    day = moment[:10]
    match granularity:
        case "day":
            return day
        case "week":
            year, week, _ = date.fromisoformat(day).isocalendar()
            return f"{year:04}-W{week:02}"
        case "month":
            return day[:7]
        case "quarter":
            return f"{day[:4]}-Q{(int(day[5:7]) + 2) // 3}"
        case "year":
            return day[:4]


def _aggregate(
    item: Aggregate, rows: Sequence[Record], params: Sequence[Value], lookup: Lookup
) -> Value:
    taken = [row for row in rows if matches(item.filter, row, params, lookup)]
    if item.column is None:
        return len(taken)
    found = (value_at(item.column, row, lookup, params) for row in taken)
    values: list[Any] = [value for value in found if value is not None]
    match item.function:
        case "count":
            return len(values)
        case "count_distinct":
            return len(set(values))
        case "sum":
            return _sum(values, item.storage) if values else None
        case "avg":
            if not values:
                return None
            # Divided before it is rounded, as the databases do.
            if all(isinstance(value, int) for value in values):
                return sum(values) / len(values)
            return float(_sum(values, item.column.field.storage)) / len(values)
        case "min":
            return min(values, default=None)
        case "max":
            return max(values, default=None)


def _sum(values: Sequence[Any], storage: Storage) -> int | float | Decimal:
    if storage is Storage.FLOAT:
        return math.fsum(values)
    if storage is Storage.INTEGER:
        return sum(values)
    return sum((Decimal(value) for value in values), Decimal(0))
