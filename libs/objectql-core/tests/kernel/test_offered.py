"""`enable.apiMethods` and `enable.apiEnabled`: what an object does not offer, no client may ask for."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.drivers.memory import MemoryDriver
from objectql.errors import MethodNotAllowed
from objectql.kernel.kernel import Kernel
from objectql.query.parse import parse_query
from objectql.wire.live import LiveBindRequest
from objectql.wire.messages import (
    AggregateRequest,
    BatchOperation,
    BatchRequest,
    BulkRequest,
    BulkRow,
    CloneRequest,
    CreateRequest,
    DeleteRequest,
    ExplainAccessRequest,
    ExplainRequest,
    ExportRequest,
    FindRequest,
    GetRequest,
    HistoryRequest,
    PermissionsRequest,
    SearchRequest,
    ShareRequest,
    SharesRequest,
    UpdateRequest,
    WhereWriteRequest,
)

Ask: TypeAlias = Callable[[Kernel, Context], Awaitable[Any]]

QUERY = parse_query({}, object="thing")
GROUPS = parse_query({"aggregations": [{"function": "count", "alias": "n"}]}, object="thing")
ROW = (BulkRow(id="one", data=b'{"name": "b"}'),)

ASKED: dict[str, dict[str, Ask]] = {
    "list": {
        "find": lambda k, c: k.handle_find(FindRequest(QUERY), c),
        "aggregate": lambda k, c: k.handle_aggregate(AggregateRequest(GROUPS), c),
        "export": lambda k, c: k.handle_export(ExportRequest(QUERY), c),
        "explain": lambda k, c: k.handle_explain(ExplainRequest(QUERY), c),
        "search": lambda k, c: k.handle_search(SearchRequest("a", objects=("thing",)), c),
        "subscribe": lambda k, c: k.handle_live_bind(LiveBindRequest(QUERY), c),
    },
    "get": {
        "get": lambda k, c: k.handle_get(GetRequest("thing", "one"), c),
        "history": lambda k, c: k.handle_history(HistoryRequest("thing", "one"), c),
        "shares": lambda k, c: k.handle_shares(SharesRequest("thing", "one"), c),
    },
    "create": {
        "create": lambda k, c: k.handle_create(CreateRequest("thing", b"{}"), c),
        "clone": lambda k, c: k.handle_clone(CloneRequest("thing", "one"), c),
        "bulk": lambda k, c: k.handle_bulk(BulkRequest("thing", "create", ROW), c),
        "bulk upsert": lambda k, c: k.handle_bulk(BulkRequest("thing", "upsert", ROW), c),
        "batch": lambda k, c: k.handle_batch(BatchRequest((BatchOperation("thing", "create"),)), c),
        "batch upsert": lambda k, c: k.handle_batch(
            BatchRequest((BatchOperation("thing", "upsert", "one"),)), c
        ),
    },
    "update": {
        "update": lambda k, c: k.handle_update(UpdateRequest("thing", "one", b"{}"), c),
        "share": lambda k, c: k.handle_share(ShareRequest("thing", "one", "user:u", "read"), c),
        "bulk": lambda k, c: k.handle_bulk(BulkRequest("thing", "update", ROW), c),
        "bulk upsert": lambda k, c: k.handle_bulk(BulkRequest("thing", "upsert", ROW), c),
        "where": lambda k, c: k.handle_write_where(WhereWriteRequest("thing", "update"), c),
        "batch": lambda k, c: k.handle_batch(
            BatchRequest((BatchOperation("thing", "update", "one"),)), c
        ),
    },
    "delete": {
        "delete": lambda k, c: k.handle_delete(DeleteRequest("thing", "one"), c),
        "bulk": lambda k, c: k.handle_bulk(BulkRequest("thing", "delete", ROW), c),
        "where": lambda k, c: k.handle_write_where(WhereWriteRequest("thing", "delete"), c),
        "batch": lambda k, c: k.handle_batch(
            BatchRequest((BatchOperation("thing", "delete", "one"),)), c
        ),
    },
    "bulk": {
        "bulk": lambda k, c: k.handle_bulk(BulkRequest("thing", "update", ROW), c),
        "where": lambda k, c: k.handle_write_where(WhereWriteRequest("thing", "update"), c),
    },
}
"""By method of the API, all that a client can ask for by it."""

EVERY = tuple(ASKED)
CASES = [(method, name) for method, asked in ASKED.items() for name in asked]


def somebody() -> Context:
    return Context(
        actor=Actor(id="root", roles=("admin", "system")),
        deadline_ms=SystemClock().now_ms() + 30_000,
        request_id="r1",
    )


@pytest.fixture
async def kernel() -> AsyncGenerator[Kernel]:
    fields = {"name": {"type": "text", "searchable": True}}
    kernel = Kernel([MemoryDriver(), {"name": "app", "objects": {"thing": {"fields": fields}}}])
    await kernel.start()
    await kernel.create("thing", {"_id": "one", "name": "a"})
    yield kernel
    await kernel.stop()


async def offer(kernel: Kernel, **enable: Any) -> None:
    fields = {"name": {"type": "text", "searchable": True}}
    await kernel.publisher.put("object", "thing", {"fields": fields, "enable": enable})


@pytest.mark.parametrize(("method", "name"), CASES)
async def test_what_is_not_listed_is_refused_whoever_asks(
    kernel: Kernel, method: str, name: str
) -> None:
    others = [other for other in EVERY if other != method]
    await offer(kernel, apiMethods=others)
    with pytest.raises(MethodNotAllowed) as refused:
        await ASKED[method][name](kernel, somebody())
    assert (refused.value.method, refused.value.allowed) == (method, tuple(others))


@pytest.mark.parametrize(("method", "name"), CASES)
async def test_an_object_without_an_api_offers_nothing(
    kernel: Kernel, method: str, name: str
) -> None:
    await offer(kernel, apiEnabled=False)
    with pytest.raises(MethodNotAllowed):
        await ASKED[method][name](kernel, somebody())


async def test_what_is_listed_is_done(kernel: Kernel) -> None:
    await offer(kernel, apiMethods=["get", "list", "update"])
    context = somebody()
    for name in ("find", "aggregate", "search"):
        await ASKED["list"][name](kernel, context)
    await ASKED["get"]["get"](kernel, context)
    await ASKED["update"]["update"](kernel, context)


async def test_a_search_of_everything_leaves_out_what_cannot_be_listed(kernel: Kernel) -> None:
    for methods, hits in (["list"], 1), (["get"], 0):
        await offer(kernel, apiMethods=methods)
        reply = await kernel.handle_search(SearchRequest("a"), somebody())
        assert f'"totalHits":{hits}'.encode() in reply.body


async def test_the_application_itself_is_not_restricted(kernel: Kernel) -> None:
    await offer(kernel, apiMethods=["list"])
    await kernel.create("thing", {"name": "b"})


async def test_callers_are_told_of_nothing_that_is_not_offered(kernel: Kernel) -> None:
    async def told() -> Any:
        reply = await kernel.handle_permissions(PermissionsRequest(), somebody())
        return json.loads(reply.body)["objects"].get("thing")

    await offer(kernel, apiMethods=["get", "update"])
    found = await told()
    assert found["operations"] == ["read", "update"]
    assert found["export"] is False
    await offer(kernel, apiEnabled=False)
    assert await told() is None


@pytest.mark.parametrize(
    ("methods", "right", "is_allowed"),
    [
        (["get"], "read", True),
        (["get"], "export", False),
        (["list"], "export", True),
        (["list"], "delete", False),
        (["list"], "transfer", False),
        (["update"], "transfer", True),
    ],
)
async def test_it_is_explained_that_an_operation_is_not_offered(
    kernel: Kernel, methods: list[str], right: str, is_allowed: bool
) -> None:
    await offer(kernel, apiMethods=methods)
    request = ExplainAccessRequest("thing", right, None, "ann", ("admin",), {})
    told = json.loads((await kernel.handle_explain_access(request, somebody())).body)
    assert told["allowed"] is is_allowed
    why = f"thing offers no {right} to clients; it offers {methods[0]}"
    assert (why in told["because"]) is not is_allowed
