"""Prepared plans by query shape, least recently used out first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from objectql.query.ast import Query

T = TypeVar("T")


class PlanKey(NamedTuple):
    """All that a plan depends on; literals are not part of it.

    `policy_shape` keeps callers with other permissions apart, `metadata_version` plans of another
    schema, `driver` the lowered forms of different data sources.
    """

    template: Query
    metadata_version: int | str
    policy_shape: str
    driver: str


class CacheStatistics(NamedTuple):
    """Counters since the start, and how many plans are held now."""

    hits: int
    misses: int
    evictions: int
    size: int

    @property
    def hit_rate(self) -> float:
        """Hits among all look-ups, 0.0 before the first."""
        return self.hits / (self.hits + self.misses) if self.hits else 0.0


class PlanCache(Generic[T]):
    """A bounded map from `PlanKey` to whatever the caller prepares from it.

    For one event loop or thread; making a plan is not guarded against being done twice.
    """

    def __init__(self, capacity: int = 1_000) -> None:
        if capacity < 1:
            raise ValueError("a cache holds at least one plan")
        self._capacity = capacity
        self._plans: OrderedDict[PlanKey, T] = OrderedDict()
        self._hits = 0
        self._misses = 0
        self._evictions = 0

    def __contains__(self, key: PlanKey) -> bool:
        """Whether there is a plan for `key`; not counted as a look-up."""
        return key in self._plans

    def get(self, key: PlanKey) -> T | None:
        """The plan for `key`, which becomes the most recently used."""
        plan = self._plans.get(key)
        if plan is None:
            self._misses += 1
            return None
        self._hits += 1
        self._plans.move_to_end(key)
        return plan

    def put(self, key: PlanKey, plan: T) -> None:
        """Keep `plan`; the least recently used one goes when there is no room."""
        self._plans[key] = plan
        self._plans.move_to_end(key)
        if len(self._plans) > self._capacity:
            self._plans.popitem(last=False)
            self._evictions += 1

    def get_or_make(self, key: PlanKey, make: Callable[[], T]) -> T:
        """The plan for `key`, made and kept if it is missing; a failure to make it is not kept."""
        plan = self.get(key)
        if plan is None:
            plan = make()
            self.put(key, plan)
        return plan

    def keep_version(self, metadata_version: int) -> int:
        """Drop the plans of every other version of the metadata; how many."""
        stale = [key for key in self._plans if key.metadata_version != metadata_version]
        for key in stale:
            del self._plans[key]
        return len(stale)

    def values(self) -> list[T]:
        """The plans held now, least recently used first."""
        return list(self._plans.values())

    def statistics(self) -> CacheStatistics:
        """How the cache has done so far."""
        return CacheStatistics(self._hits, self._misses, self._evictions, len(self._plans))
