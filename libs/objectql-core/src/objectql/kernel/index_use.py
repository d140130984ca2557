"""By which fields the queries of this worker find records, and whether an index serves them.

It is read off the plans that are kept anyway, so it costs a counter for each query, is as bounded
as the plan cache, and starts anew when the metadata changes. What an advisor makes of it is its
business: here is only what was asked and how often.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from objectql.query.plan import Access, Plan


class IndexUse(msgspec.Struct, frozen=True):
    """Queries that find records of one object by the same fields.

    `indexes` are those that find or order, best first. Where none finds, `wanted` holds the fields
    of one that would.
    """

    object: str
    access: Access
    indexes: tuple[str, ...]
    wanted: tuple[str, ...]
    queries: int


def index_uses(plans: Iterable[tuple[Plan, int]]) -> list[IndexUse]:
    """The uses that `plans` with their numbers of queries add up to, most queries first."""
    counts: dict[tuple[str, Access, tuple[str, ...]], int] = {}
    for plan, queries in plans:
        key = (plan.query.object.name, plan.access, plan.index_hints)
        counts[key] = counts.get(key, 0) + queries
    found = [
        IndexUse(name, access, indexes, () if access.is_served else access.wanted, queries)
        for (name, access, indexes), queries in counts.items()
    ]
    return sorted(found, key=lambda use: -use.queries)
