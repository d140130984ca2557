"""What explain shows, and to whom."""

from __future__ import annotations

import json
from typing import Any

import pytest

from objectql.errors import PermissionDenied, QueryTooExpensive
from objectql.ids import TenantId
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.query.limits import QueryLimits
from objectql.query.parse import parse_query
from objectql.wire.messages import ExplainRequest, FindRequest

QUERY = parse_query({"where": {"name": "secret"}, "orderBy": "code"}, object="account")


@pytest.fixture
def settings() -> KernelSettings:
    return KernelSettings(query=QueryLimits(conditions=5))


async def explained(kernel: Kernel, context: Any, *, analyze: bool = False) -> dict[str, Any]:
    reply = await kernel.handle_explain(ExplainRequest(QUERY, analyze=analyze), context)
    return json.loads(reply.body)


async def test_administrators_see_every_stage(kernel: Kernel, ask: Any) -> None:
    shown = await explained(kernel, ask("admin"))
    assert shown["bound"]["where"] == "name = $1"
    assert shown["bound"]["tenant"] == "$0"
    assert shown["values"] == ["default", "secret"]
    assert shown["source"]["kind"] == kernel.engine.system_driver.kind
    assert shown["timings_ms"].keys() == {"template", "bind", "plan", "lower", "database"}
    assert (shown["database"] is None) is (shown["source"]["kind"] == "memory")


async def test_others_see_their_query_and_no_rule_value_or_table(kernel: Kernel, ask: Any) -> None:
    shown = await explained(kernel, ask("viewer"))
    assert shown.keys() == {"query", "plan", "is_empty", "plan_cache", "timings_ms"}
    assert shown["plan"] == {"strategy": "indexed"}
    assert "tenant" not in json.dumps(shown)
    with pytest.raises(PermissionDenied):
        await explained(kernel, ask("viewer"), analyze=True)
    with pytest.raises(PermissionDenied):
        await explained(kernel, ask("nobody"))


async def test_analyze_runs_the_query_and_says_what_it_took(kernel: Kernel, ask: Any) -> None:
    await kernel.create("account", {"name": "secret"})
    shown = await explained(kernel, ask("admin"), analyze=True)
    if shown["source"]["kind"] == "postgres":
        assert shown["database"][0]["Execution Time"] > 0
        assert "Shared Hit Blocks" in shown["database"][0]["Plan"]


async def test_what_a_database_counts_of_all_tenants_is_not_for_one_of_them(
    kernel: Kernel, ask: Any
) -> None:
    admin = ask("admin", "system", tenant=TenantId("acme"))
    assert "database" not in await explained(kernel, admin)
    with pytest.raises(PermissionDenied):
        await explained(kernel, admin, analyze=True)


async def test_the_plan_cache_is_told_and_not_disturbed(kernel: Kernel, ask: Any) -> None:
    assert (await explained(kernel, ask("viewer")))["plan_cache"] == "miss"
    await kernel.handle_find(FindRequest(QUERY), ask("viewer"))
    limited = parse_query(
        {"where": {"name": "other"}, "orderBy": "code", "limit": 100}, object="account"
    )
    reply = await kernel.handle_explain(ExplainRequest(limited), ask("viewer"))
    assert json.loads(reply.body)["plan_cache"] == "hit"


async def test_what_a_read_took_goes_with_its_answer(kernel: Kernel, ask: Any) -> None:
    reply = await kernel.handle_find(FindRequest(QUERY), ask("admin"))
    assert reply.timing is not None
    plan_us, data_us, data_from = reply.timing
    assert plan_us >= 0
    assert data_us > 0
    assert data_from == "db"


async def test_an_expensive_query_never_reaches_the_data_source(kernel: Kernel, ask: Any) -> None:
    where = {"$or": [{"name": str(n)} for n in range(6)]}
    before = kernel.engine.system_driver.statistics()["reads_total"]
    with pytest.raises(QueryTooExpensive) as refused:
        await kernel.handle_find(
            FindRequest(parse_query({"where": where}, object="account")), ask("admin")
        )
    assert (refused.value.actual, refused.value.path) == (6, "where")
    assert kernel.engine.system_driver.statistics()["reads_total"] == before
