from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from objectql.context import Actor
from objectql.errors import (
    FieldUnknown,
    InvalidQuery,
    ObjectUnknown,
    PermissionDenied,
    RecordNotFound,
    TooManyRecords,
)
from objectql.ids import TenantId
from objectql.kernel.kernel import Kernel
from objectql.kernel.query_document import query_document
from objectql.plugins.context import HookContext
from objectql.query.ast import Query
from objectql.query.parse import parse_query
from objectql.query.template import extract
from objectql.wire.messages import (
    AggregateRequest,
    FindRequest,
    GetRequest,
    SearchRequest,
)


async def fill(kernel: Kernel, count: int = 5) -> None:
    for n in range(count):
        await kernel.create("account", {"id": f"a{n}", "name": f"Name {n}", "balance": n})


async def test_pages_follow_each_other_by_cursor(kernel: Kernel, ask: Any) -> None:
    await fill(kernel)
    seen: list[str] = []
    after: str | None = None
    while True:
        query = parse_query({"limit": 2, "orderBy": ["-balance"], "after": after}, object="account")
        reply = await kernel.handle_find(FindRequest(query), ask("admin"))
        seen += [row["id"] for row in json.loads(reply.items)]
        after = reply.next
        if not reply.has_next:
            break
    assert seen == ["a4", "a3", "a2", "a1", "a0"]
    assert after is None


async def test_a_missing_limit_is_the_default_and_a_large_one_is_refused(
    kernel: Kernel, ask: Any
) -> None:
    await fill(kernel, 3)
    reply = await kernel.handle_find(FindRequest(Query(object="account")), ask("admin"))
    assert (reply.limit, reply.count, reply.total) == (100, 3, None)
    with pytest.raises(TooManyRecords):
        await kernel.handle_find(FindRequest(Query(object="account", limit=1001)), ask("admin"))
    assert len((await kernel.find("account", {"limit": 5000})).value) == 3


async def test_counting_ignores_the_page(kernel: Kernel) -> None:
    await fill(kernel)
    result = await kernel.find("account", {"limit": 1, "count": True})
    assert (len(result.value), result.total, result.has_next) == (1, 5, True)
    assert await kernel.count("account", {"where": {"balance": {"$gte": 3}}, "limit": 1}) == 2


async def test_groups_are_aggregated(kernel: Kernel, ask: Any) -> None:
    await fill(kernel)
    document = {"groupBy": ["stage"], "aggregations": [{"function": "sum", "field": "balance"}]}
    assert await kernel.aggregate("account", document) == [{"stage": "new", "sum_balance": 10}]
    request = AggregateRequest(parse_query(document, object="account"))
    assert (await kernel.handle_aggregate(request, ask("viewer"))).count == 1


async def test_what_is_not_there_is_named(kernel: Kernel, ask: Any) -> None:
    with pytest.raises(RecordNotFound):
        await kernel.handle_get(GetRequest("account", "gone"), ask("admin"))
    assert await kernel.get("account", "gone") is None
    with pytest.raises(ObjectUnknown):
        await kernel.find("acount")
    with pytest.raises(FieldUnknown) as caught:
        await kernel.find("account", {"where": {"nam": 1}})
    assert caught.value.suggestions == ("name",)


async def test_a_plan_is_made_once_per_shape_and_metadata_version(kernel: Kernel) -> None:
    for n in range(4):
        await kernel.find("account", {"where": {"balance": n}})
    assert kernel.reader.planner.statistics().hits == 3
    await kernel.publisher.put("object", "note", {"fields": {"t": {"type": "text"}}})
    assert kernel.reader.planner.statistics().size == 0
    await kernel.find("account", {"where": {"balance": 1}})
    assert kernel.reader.planner.statistics().size == 1


async def test_before_find_narrows_and_after_find_changes_what_is_returned(
    kernel: Kernel, ask: Any
) -> None:
    await fill(kernel)

    def narrow(ctx: HookContext) -> None:
        assert ctx.query is not None
        ctx.query["where"] = {"$and": [ctx.query["where"], {"balance": {"$gte": 3}}]}
        ctx.state["narrowed"] = True

    def mark(ctx: HookContext) -> None:
        assert ctx.state["narrowed"]
        rows: list[dict[str, Any]] = [ctx.result] if ctx.id is not None else ctx.result
        for row in rows:
            row["seen_by"] = ctx.user.id

    kernel.engine.hooks.register("beforeFind", "account", narrow)
    kernel.engine.hooks.register("afterFind", "account", mark)
    found = await kernel.find("account", {"where": {"balance": {"$lte": 3}}}, context=ask("viewer"))
    assert [(row["id"], row["seen_by"]) for row in found.value] == [("a3", "u1")]
    one = await kernel.handle_get(GetRequest("account", "a4"), ask("viewer"))
    assert json.loads(one.record)["seen_by"] == "u1"
    with pytest.raises(RecordNotFound):
        await kernel.handle_get(GetRequest("account", "a1"), ask("viewer"))


async def test_a_hook_that_breaks_the_query_is_an_error_not_everything(kernel: Kernel) -> None:
    def forget(ctx: HookContext) -> None:
        ctx.query = None

    kernel.engine.hooks.register("beforeFind", "account", forget)
    with pytest.raises(InvalidQuery):
        await kernel.find("account")


async def test_count_hooks_see_the_query_and_the_number(kernel: Kernel) -> None:
    await fill(kernel)

    def narrow(ctx: HookContext) -> None:
        assert ctx.query is not None
        ctx.query["where"] = {"balance": 1}

    def double(ctx: HookContext) -> None:
        ctx.result *= 2

    kernel.engine.hooks.register("beforeCount", "*", narrow)
    kernel.engine.hooks.register("afterCount", "*", double)
    assert await kernel.count("account") == 2


async def test_search_goes_over_what_the_caller_may_read(kernel: Kernel, ask: Any) -> None:
    await fill(kernel)
    reply = await kernel.handle_search(SearchRequest("name", per_object=2), ask("viewer"))
    body = json.loads(reply.body)
    assert {hit["object"] for hit in body["hits"]} == {"account"}
    assert (body["totalHits"], body["truncated"]) == (2, True)


async def test_deleted_records_are_for_admins(kernel: Kernel, ask: Any) -> None:
    query = Query(object="account", include_deleted=True)
    with pytest.raises(PermissionDenied):
        await kernel.handle_find(FindRequest(query), ask("viewer"))


async def test_tenants_never_meet(kernel: Kernel, ask: Any) -> None:
    await fill(kernel, 1)
    other = msgspec.structs.replace(
        ask(), actor=Actor(id="x", tenant=TenantId("other"), roles=("admin",))
    )
    assert await kernel.count("account", context=other) == 0
    assert await kernel.get("account", "a0", context=other) is None
    assert await kernel.delete("account", "a0", context=other) is False
    assert (await kernel.create("account", {"id": "a0", "name": "B"}, context=other))["id"] == "a0"
    assert await kernel.count("account") == 1


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"where": {"a": 1, "$or": [{"b": {"$gt": 2}}, {"$not": {"c": {"$in": [1, None]}}}]}},
        {"where": {"a": {"$eq": {"$field": "b"}}, "c.d": None, "e": {"$null": False}}},
        {"fields": ["a", "b.c"], "orderBy": ["-a", "b"], "limit": 3, "offset": 2, "count": True},
        {"search": {"query": "x y", "fields": ["a"]}, "distinct": True, "includeDeleted": True},
        {"expand": {"o": {"fields": ["x"], "where": {"y": 1}, "expand": {"p": {}}}}, "after": "c"},
        {
            "groupBy": ["a", {"field": "d", "dateGranularity": "day", "alias": "n"}],
            "aggregations": [
                {"function": "count"},
                {"function": "sum", "field": "b", "alias": "s", "filter": {"a": 2}},
            ],
            "having": {"s": {"$gt": 1}},
            "count": "estimated",
        },
    ],
)
def test_the_document_that_hooks_see_reads_back_as_the_same_query(document: Any) -> None:
    query = parse_query(document, object="t")
    again = parse_query(query_document(query), object="t")
    assert extract(again)[:2] == extract(query)[:2]


async def test_a_contradiction_is_answered_without_the_data_source(
    kernel: Kernel, ask: Any
) -> None:
    await fill(kernel, 2)
    driver = kernel.engine.system_driver
    before = driver.statistics()["reads_total"]
    where = {"$and": [{"stage": "new"}, {"stage": "won"}]}
    page = await kernel.find("account", {"where": where, "count": True})
    assert (page.value, page.total) == ([], 0)
    sums = [{"function": "count"}, {"function": "sum", "field": "balance"}]
    assert await kernel.aggregate("account", {"where": where, "aggregations": sums}) == [
        {"count": 0, "sum_balance": None}
    ]
    grouped = {"where": where, "groupBy": ["stage"], "aggregations": sums}
    assert await kernel.aggregate("account", grouped) == []
    assert driver.statistics()["reads_total"] == before
    assert len((await kernel.find("account", {"where": {"stage": "new"}})).value) == 2
    assert driver.statistics()["reads_total"] == before + 1
