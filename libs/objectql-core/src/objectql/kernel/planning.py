"""From a query to something a driver can run: template, plan cache, parameters.

A repeated shape costs one look-up and its parameters; only a new one is bound, optimised, planned
and lowered.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from objectql.clock import Clock
from objectql.context import Context
from objectql.drivers.protocol import Driver, Lowered, Session
from objectql.errors import NotSupported
from objectql.kernel.engine import Engine
from objectql.kernel.index_use import IndexUse, index_uses
from objectql.kernel.model import Model
from objectql.query.ast import Compare, Op, Query
from objectql.query.bind import bind
from objectql.query.bound import ParamSource
from objectql.query.cache import CacheStatistics, PlanCache, PlanKey
from objectql.query.cursor import page_digest
from objectql.query.footprint import Footprint, footprint
from objectql.query.limits import check_cost, check_members, check_rows
from objectql.query.plan import Plan, make_plan
from objectql.query.template import extract
from objectql.query.values_in import resolve
from objectql.security.policy import AccessRules
from objectql.values import Value
from objectql.wire.messages import DataFrom, GetRequest, Timing

_ID_PLACE: Final = ("id",)


class Uses:
    """How often a prepared query was asked for, and how long the database takes for it.

    `pace_s` is for one read, from those that have ended; None before the first. `under_way` counts
    the statements that the database is asked for now.
    """

    __slots__ = ("count", "pace_s", "under_way")

    def __init__(self) -> None:
        self.count = 0
        self.pace_s: float | None = None
        self.under_way = 0

    def took(self, seconds: float, reads: float) -> None:
        """A statement has ended in whose time the database did so many reads of this query.

        Reads in statements beside it count too, for they made it slower: by Little's law the pace
        is the time divided by what was under way. Else a burst of lone statements would look too
        slow to be shared, and stay alone. Fast ones count for more: on a busy machine most of a
        statement's time is waiting.
        """
        each_s = seconds / reads
        known_s = self.pace_s
        if known_s is None:
            self.pace_s = each_s
        else:
            self.pace_s = known_s + (each_s - known_s) * (0.5 if each_s < known_s else 0.1)


class Prepared(NamedTuple):
    """A query shape, ready to run for any literals.

    `digest` is equal in every kernel of the cluster for the same shape, metadata and permissions,
    and for nothing else.
    """

    plan: Plan
    driver: Driver
    lowered: Lowered
    sources: tuple[ParamSource, ...]
    reads: Footprint
    digest: bytes
    uses: Uses


class Runnable(NamedTuple):
    """A prepared query with its parameters."""

    prepared: Prepared
    params: tuple[Value, ...]


class Spent:
    """What the steps of one read took, in seconds of the monotonic clock."""

    __slots__ = ("_clock", "_last_s", "data_from", "data_s", "plan_s")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_s = clock.monotonic_s()
        self.plan_s = self.data_s = 0.0
        self.data_from: DataFrom = "db"

    def planned(self) -> None:
        """The plan is there."""
        now_s = self._clock.monotonic_s()
        self.plan_s += now_s - self._last_s
        self._last_s = now_s

    def fetched(self) -> None:
        """The data are there."""
        now_s = self._clock.monotonic_s()
        self.data_s += now_s - self._last_s
        self._last_s = now_s

    def timing(self) -> Timing:
        """The same for the wire."""
        return int(self.plan_s * 1e6), int(self.data_s * 1e6), self.data_from


class Scope(NamedTuple):
    """Under what a read happens: whose request, which metadata, in which transaction if any."""

    context: Context
    model: Model
    policy: AccessRules
    session: Session | None = None
    driver: Driver | None = None
    """The driver of `session`; data sources other than this are read outside it."""
    spent: Spent | None = None
    """Where the read notes its time; None for reads nobody waits for by themselves."""
    may_lag: bool = False
    """Whether the caller's read policy holds. The kernel's own reads are of the primary."""


def query_of(request: GetRequest) -> Query:
    """The query for one record."""
    return Query(
        object=request.object,
        fields=request.fields,
        where=Compare(("id",), Op.EQ, request.id, at=_ID_PLACE[0]),
        expand=request.expand,
        limit=1,
    )


class Planner:
    """Prepares queries, and keeps what it prepared until the metadata changes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._plans: PlanCache[Prepared] = PlanCache(engine.settings.plan_cache_size)
        self._points: dict[tuple[object, ...], Prepared] = {}
        self._point_hits = 0
        self._caches = engine.settings.features.query_caching
        engine.registry.on_publish(lambda _, new: self._forget(new.version))

    def _forget(self, version: int) -> None:
        self._plans.keep_version(version)
        self._points.clear()

    def statistics(self) -> CacheStatistics:
        """How the plan cache has done."""
        found = self._plans.statistics()
        return found._replace(hits=found.hits + self._point_hits)

    def scope(self, context: Context, *, may_lag: bool = False) -> Scope:
        """Reads for `context` by the metadata now in force."""
        model = self._engine.model_of(context.actor.tenant)
        spent = Spent(self._engine.clock)
        return Scope(context, model, model.policy(context.actor), spent=spent, may_lag=may_lag)

    def is_prepared(self, query: Query, scope: Scope) -> bool:
        """Whether the plan of `query` is kept."""
        template = extract(query).template
        return PlanKey(template, scope.model.edition, scope.policy.shape, "") in self._plans

    def prepare(self, query: Query, scope: Scope) -> Runnable:
        """`query` as something a driver can run; the plan comes from the cache if it can.

        Raises:
            ObjectUnknown, PermissionDenied, and whatever is wrong with the query.

        """
        extracted = extract(query)
        key = PlanKey(extracted.template, scope.model.edition, scope.policy.shape, "")
        prepared = self._plans.get(key) if self._caches else None
        if prepared is None:
            prepared = self._compile(extracted.template, extracted.places, scope)
            if self._caches:
                self._plans.put(key, prepared)
        check_members(extracted.literals, extracted.places, self._engine.settings.query)
        return self._fill(prepared, extracted.literals, extracted.places, scope)

    def prepare_get(self, request: GetRequest, scope: Scope) -> Runnable:
        """The read of one record by its id; a repeated one is neither built nor taken apart.

        Raises:
            As `prepare`.

        """
        if request.expand or not self._caches:  # relations have literals of their own
            return self.prepare(query_of(request), scope)
        key = (request.object, request.fields, scope.model.edition, scope.policy.shape)
        prepared = self._points.get(key)
        if prepared is not None:
            self._point_hits += 1
            return self._fill(prepared, (request.id,), _ID_PLACE, scope)
        run = self.prepare(query_of(request), scope)
        if len(self._points) >= self._engine.settings.plan_cache_size:
            self._points.clear()
        self._points[key] = run.prepared
        return run

    def index_uses(self) -> list[IndexUse]:
        """By what the kept plans find their records."""
        return index_uses((prepared.plan, prepared.uses.count) for prepared in self._plans.values())

    def _fill(
        self, prepared: Prepared, literals: Sequence[Any], places: Sequence[str], scope: Scope
    ) -> Runnable:
        context = scope.context
        prepared.uses.count += 1
        params = resolve(
            prepared.sources,
            literals,
            tenant=context.actor.tenant,
            actor=context.actor,
            now_ms=self._engine.clock.now_ms(),
            timezone=self._engine.settings.timezone,
            places=places,
        )
        return Runnable(prepared, params)

    def _compile(self, template: Query, places: Sequence[str], scope: Scope) -> Prepared:
        limits = self._engine.settings.query
        check_cost(template, limits)
        bound = bind(template, scope.model.snapshot, scope.policy, places=places)
        check_rows(bound, limits)
        plan = make_plan(bound, digest=page_digest(template))
        driver = self._engine.driver(bound.object)
        reads = footprint(plan.query)
        for other in reads.objects:
            if other.datasource != bound.object.datasource:
                feature = f"a query over {bound.object.name} and {other.name} (two data sources)"
                raise NotSupported(feature=feature)
        lowered = driver.lower(plan.query)
        digest = _digest(template, scope, driver, lowered)
        return Prepared(plan, driver, lowered, plan.query.params, reads, digest, Uses())


def _digest(template: Query, scope: Scope, driver: Driver, lowered: Lowered) -> bytes:
    """The text of a struct names its types, so that no two shapes look alike."""
    parts = (scope.model.edition, scope.policy.shape, driver.name, template, lowered.text)
    return blake2b(repr(parts).encode(), digest_size=16).digest()
