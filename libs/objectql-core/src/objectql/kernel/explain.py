"""What becomes of a query, stage by stage, with the time of each and the database's own plan.

Row rules, the tenant and whatever else restricts a caller are for administrators to see. Everybody
else is shown their query as it was understood, how it is found and what it costs. What the database
says counts the rows of all tenants ("Rows Removed by Filter", estimates), so it is for those alone
who own what tenants share.
"""

from __future__ import annotations

from typing import Any

from objectql.clock import Clock
from objectql.errors import PermissionDenied
from objectql.kernel.json import decode_json
from objectql.kernel.planning import Planner, Scope
from objectql.query.bind import bind
from objectql.query.explain import explain
from objectql.query.plan import make_plan
from objectql.query.template import extract
from objectql.wire.messages import ExplainRequest


async def explain_read(
    request: ExplainRequest, scope: Scope, planner: Planner, clock: Clock
) -> dict[str, Any]:
    """The stages by name (see the guide "Explain and limits"); times are in milliseconds.

    The stages are gone through anew; `plan_cache` tells whether a request would have been spared
    them. Nothing is run unless `analyze` asks for it.

    Raises:
        PermissionDenied: to analyze takes an owner, to ask for deleted records an administrator.
        ObjectUnknown, and whatever is wrong with the query.

    """
    query, actor = request.query, scope.context.actor
    if request.analyze and not actor.is_owner:
        raise PermissionDenied(operation="analyze queries of", object=query.object)
    if query.include_deleted and not actor.is_admin:
        raise PermissionDenied(operation="explain deleted records of", object=query.object)
    was_prepared = planner.is_prepared(query, scope)
    prepared, params = planner.prepare(query, scope)
    driver = prepared.driver
    timings: dict[str, float] = {}
    last_s = clock.monotonic_s()

    def note(stage: str) -> None:
        nonlocal last_s
        now_s = clock.monotonic_s()
        timings[stage] = round((now_s - last_s) * 1000, 3)
        last_s = now_s

    template, _, places = extract(query)
    note("template")
    bound = bind(template, scope.model.snapshot, scope.policy, places=places)
    note("bind")
    plan = make_plan(bound)
    note("plan")
    lowered = driver.lower(plan.query)
    note("lower")
    shown: dict[str, Any] = {
        **explain(template, bound, plan, native=lowered.text).stages,
        "values": list(params),
        "is_empty": plan.is_contradicted(params),
        "plan_cache": "hit" if was_prepared else "miss",
        "source": {"name": driver.name, "kind": driver.kind},
        "timings_ms": timings,
    }
    if not actor.is_admin:
        public = {"query", "is_empty", "plan_cache", "timings_ms"}
        return {
            **{name: stage for name, stage in shown.items() if name in public},
            "plan": {"strategy": plan.strategy},
        }
    if not actor.is_owner:
        return shown
    last_s = clock.monotonic_s()
    async with driver.begin(
        deadline_ms=scope.context.deadline_ms, tenant=scope.context.tenant
    ) as session:
        native = await session.explain(lowered, params, analyze=request.analyze)
    note("database")
    shown["database"] = None if native is None else decode_json(native)
    return shown
