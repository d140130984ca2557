"""The result cache of one kernel: names, trust, limits and counts.

Correct because of three orders, whatever happens between the steps:

- a reader takes the tokens of all that the answer depends on, *then* asks the database, and keeps
  the answer under these tokens;
- a writer commits, *then* forgets the tags of all that it touched, *then* answers;
- an answer is believed only if its tokens are those in force, all read at one moment.

A read that begins after a write was answered finds other tokens than any read that asked the
database before that write was committed. It costs no clock, no counter and no order of messages.

Source: tokens that are never used twice in place of version counters, as in leases (R. Nishtala et
al., "Scaling Memcache at Facebook", 2013, §3.2.1): a lost counter starts anew and may repeat.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec

from objectql.clock import Clock, SystemClock
from objectql.ids import DataSource
from objectql.kernel.result_cache.store import ResultStore
from objectql.kernel.result_cache.trust import EVERYTHING, Trust

Touched: TypeAlias = tuple[str, str]
"""The object and the id of a record."""

Bypass: TypeAlias = Literal["asked", "unavailable", "doubted"]
"""The caller wants the database · the store is away · some tag is in doubt."""


class CacheLimits(msgspec.Struct, frozen=True):
    """What is kept and how long. `sources` None: of every data source."""

    ttl_ms: int = 60_000
    max_entry_bytes: int = 256 * 1024
    sources: frozenset[DataSource] | None = None


@dataclass
class CacheStatistics:
    """Counts since the start."""

    hits: int = 0
    misses: int = 0
    kept: int = 0
    too_large: int = 0
    forgotten: int = 0
    not_forgotten: int = 0
    bypassed: Counter[Bypass] = field(default_factory=Counter[Bypass])


class ResultCache:
    """See the module."""

    def __init__(
        self,
        store: ResultStore,
        limits: CacheLimits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.store = store
        self.limits = limits or CacheLimits()
        self.trust = Trust(store, clock or SystemClock())
        self.statistics = CacheStatistics()

    async def written(self, tenant: str, touched: Iterable[Touched]) -> None:
        """Return when no later read can get what was true before the commit."""
        tags: dict[str, None] = {}
        for object_name, id_ in touched:
            tags[object_tag(tenant, object_name)] = None
            tags[record_tag(tenant, object_name, id_)] = None
        if tags:
            await self._forget(tuple(tags))

    async def deleted(self) -> None:
        """Return when no later read gets anything that was kept before.

        For what deletes more records than it could name: tenants that end, purges.
        """
        await self._forget((EVERYTHING,))

    async def _forget(self, tags: Sequence[str]) -> None:
        if await self.trust.forget(tags):
            self.statistics.forgotten += 1
        else:
            self.statistics.not_forgotten += 1


def object_tag(tenant: str, object_name: str) -> str:
    """The tag of all that is in an object of a tenant."""
    return f"t:{tenant}/{object_name}"


def record_tag(tenant: str, object_name: str, id_: str) -> str:
    """The tag of one record, whether or not it exists."""
    return f"t:{tenant}/{object_name}/{id_}"


def read_tags(tenant: str, objects: Iterable[str], record: str | None = None) -> tuple[str, ...]:
    """The tags of an answer that depends on `objects`, or on one record of the only one."""
    if record is None:
        return (EVERYTHING, *(object_tag(tenant, name) for name in objects))
    return (EVERYTHING, *(record_tag(tenant, name, record) for name in objects))
