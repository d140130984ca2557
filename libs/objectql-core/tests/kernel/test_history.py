"""Histories end to end, on every driver: what each way of writing leaves, and who hears of it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.drivers.protocol import Driver
from objectql.errors import (
    HookAborted,
    InvalidQuery,
    NotSupported,
    PermissionDenied,
    RecordNotFound,
    TooManyRecords,
    ValidationFailed,
)
from objectql.ids import TenantId
from objectql.kernel.actions import ActionContext
from objectql.kernel.kernel import Kernel
from objectql.plugins.context import HookContext
from objectql.query.parse import parse_query
from objectql.wire.messages import (
    BatchOperation,
    BatchRequest,
    BulkRequest,
    BulkRow,
    CreateRequest,
    DeleteRequest,
    HistoryRequest,
    UpdateRequest,
    WhereWriteRequest,
)

APP: dict[str, Any] = {
    "name": "books",
    "objects": {
        "book": {
            "enable": {"trackHistory": True},
            "fields": {
                "title": {"type": "text"},
                "owner": {"type": "text"},
                "code": {"type": "text", "unique": True, "external_id": True},
                "price": {"type": "currency", "scale": 2},
                "margin": {"type": "number", "scale": 0},
                "pin": {"type": "password"},
            },
            "actions": {"sell": {"type": "record"}},
        },
        "page": {
            "enable": {"trackHistory": True},
            "fields": {
                "text": {"type": "text"},
                "book": {"type": "master_detail", "reference": "book", "required": True},
            },
        },
        "review": {
            "enable": {"trackHistory": True},
            "fields": {
                "book": {"type": "lookup", "reference": "book", "deleteBehavior": "set_null"},
            },
        },
        "note": {"fields": {"text": {"type": "text"}}},
    },
    "permissions": {
        "book": {
            "object": "book",
            "object_permissions": {
                "create": ["clerk"],
                "read": ["clerk"],
                "update": ["clerk"],
                "delete": ["clerk"],
                "view_all": ["auditor"],
            },
            "field_permissions": {"margin": {"read": ["auditor"], "update": ["auditor"]}},
            "record_rules": [
                {
                    "name": "own",
                    "condition": {
                        "field": "owner", "operator": "=", "value": "$current_user.id",
                    },
                    "permissions": {"read": True, "update": True, "delete": True},
                }
            ],
        }
    },
}  # fmt: skip


def who(id_: str, *roles: str, tenant: str = "default", key: str | None = None) -> Context:
    return Context(
        actor=Actor(id=id_, roles=roles, tenant=TenantId(tenant)),
        deadline_ms=SystemClock().now_ms() + 30_000,
        request_id=f"request of {id_}",
        idempotency_key=key,
    )


ADMIN = ("admin",)


@pytest.fixture
async def kernel(driver: Driver) -> AsyncGenerator[Kernel]:
    kernel = Kernel([driver, APP])
    await kernel.start()
    yield kernel
    await kernel.stop()


async def past(
    kernel: Kernel, object_: str, id_: str, context: Context | None = None
) -> list[dict[str, Any]]:
    """The entries of a record, the oldest first."""
    reply = await kernel.handle_history(HistoryRequest(object_, id_), context or who("a", *ADMIN))
    assert not reply.has_next
    entries: list[dict[str, Any]] = json.loads(reply.items)
    assert len(entries) == reply.count
    return entries[::-1]


async def told(kernel: Kernel, object_: str, id_: str) -> list[str]:
    return [entry["operation"] for entry in await past(kernel, object_, id_)]


async def test_an_entry_says_who_changed_what_when(kernel: Kernel) -> None:
    ann, bob = who("ann", *ADMIN), who("bob", *ADMIN)
    await kernel.create("book", {"id": "b", "title": "A", "price": 10.1}, context=ann)
    await kernel.update("book", "b", {"title": "B"}, context=bob)
    await kernel.delete("book", "b", context=bob)
    created, updated, deleted = await past(kernel, "book", "b")
    assert created["actor"] == "ann"
    assert created["request_id"] == "request of ann"
    assert created["changes"] == {
        "title": {"old": None, "new": "A"},
        "price": {"old": None, "new": 10.1},
    }
    assert (updated["actor"], updated["version"]) == ("bob", 2)
    assert updated["changes"] == {"title": {"old": "A", "new": "B"}}
    assert deleted["operation"] == "deleted"
    assert deleted["changes"]["title"] == {"old": "B", "new": None}
    assert created["at"] <= updated["at"] <= deleted["at"]


async def test_bulk_writes_leave_one_entry_for_each_record(kernel: Kernel) -> None:
    context = who("a", *ADMIN)
    rows = tuple(BulkRow(json.dumps({"id": f"b{n}", "code": f"c{n}"}).encode()) for n in range(3))
    for atomic in (True, False):
        changed = tuple(
            BulkRow(json.dumps({"title": f"{atomic}"}).encode(), id=f"b{n}") for n in range(3)
        )
        if atomic:
            await kernel.handle_bulk(BulkRequest("book", "create", rows, atomic=True), context)
        await kernel.handle_bulk(BulkRequest("book", "update", changed, atomic=atomic), context)
    upserted = (BulkRow(b'{"code": "c0", "title": "z"}'), BulkRow(b'{"code": "new"}'))
    reply = await kernel.handle_bulk(
        BulkRequest("book", "upsert", upserted, match=("code",)), context
    )
    assert [result.action for result in reply.results] == ["updated", "created"]
    gone = (BulkRow(id="b1"), BulkRow(id="b2"))
    await kernel.handle_bulk(BulkRequest("book", "delete", gone, atomic=True), context)
    assert await told(kernel, "book", "b0") == ["created", *["updated"] * 3]
    assert await told(kernel, "book", "b1") == ["created", "updated", "updated", "deleted"]
    assert await told(kernel, "book", str(reply.results[1].id)) == ["created"]


async def test_a_write_by_filter_leaves_one_entry_for_each_match(kernel: Kernel) -> None:
    for n in range(3):
        await kernel.create("book", {"id": f"b{n}", "title": "x" if n else "y"})
    where = parse_query({"where": {"title": "x"}}, object="book").where
    request = WhereWriteRequest("book", "update", where, b'{"owner": "z"}')
    await kernel.handle_write_where(request, who("a", *ADMIN))
    assert [await told(kernel, "book", f"b{n}") for n in range(3)] == [
        ["created"],
        ["created", "updated"],
        ["created", "updated"],
    ]


async def test_a_batch_leaves_all_its_entries_or_none(kernel: Kernel) -> None:
    context = who("a", *ADMIN)
    create = BatchOperation("book", "create", data=b'{"id": "b", "title": "A"}')
    update = BatchOperation("book", "update", id="b", data=b'{"title": "B"}')
    missing = BatchOperation("book", "update", id="none", data=b'{"title": "B"}')
    with pytest.raises(RecordNotFound):
        await kernel.handle_batch(BatchRequest((create, update, missing)), context)
    with pytest.raises(RecordNotFound):
        await past(kernel, "book", "b")
    await kernel.handle_batch(BatchRequest((create, update)), context)
    assert await told(kernel, "book", "b") == ["created", "updated"]


async def test_cascades_leave_an_entry_for_each_record_they_reach(kernel: Kernel) -> None:
    await kernel.create("book", {"id": "b"})
    await kernel.create("page", {"id": "p", "book": "b"})
    await kernel.create("review", {"id": "r", "book": "b"})
    await kernel.delete("book", "b", context=who("ann", *ADMIN))
    for object_, id_, last in (("book", "b", "deleted"), ("page", "p", "deleted")):
        assert await told(kernel, object_, id_) == ["created", last]
    *_, emptied = await past(kernel, "review", "r")
    assert emptied["changes"] == {"book": {"old": "b", "new": None}}
    assert emptied["actor"] == "ann"


async def test_actions_and_hooks_leave_entries_of_who_asked(kernel: Kernel) -> None:
    async def sell(ctx: ActionContext) -> None:
        await ctx.api.update("book", str(ctx.id), {"title": "sold"})

    async def log(ctx: HookContext) -> None:
        await ctx.api.create("review", {"id": f"r-{ctx.id}", "book": ctx.id})

    kernel.engine.actions.register("book", "sell", sell)
    kernel.engine.hooks.register("afterUpdate", "book", log)
    await kernel.create("book", {"id": "b"})
    await kernel.action("book.sell", {}, id="b", context=who("ann", *ADMIN))
    assert await told(kernel, "book", "b") == ["created", "updated"]
    assert (await past(kernel, "review", "r-b"))[0]["actor"] == "ann"


async def test_what_is_refused_or_repeated_leaves_no_entry(kernel: Kernel) -> None:
    async def refuse(ctx: HookContext) -> None:
        raise HookAborted(hook="refuse", reason="no")

    context = who("ann", *ADMIN, key="k")
    for _ in range(2):
        await kernel.handle_create(CreateRequest("book", b'{"id": "b", "title": "A"}'), context)
    with pytest.raises(ValidationFailed):
        await kernel.update("book", "b", {"price": "much"})
    await kernel.update("book", "b", {"title": "A"})
    kernel.engine.hooks.register("afterUpdate", "book", refuse)
    with pytest.raises(HookAborted):
        await kernel.update("book", "b", {"title": "B"})
    assert await told(kernel, "book", "b") == ["created"]


async def test_a_field_that_may_not_be_read_is_in_no_change(kernel: Kernel) -> None:
    await kernel.create("book", {"id": "b", "owner": "ann", "title": "A", "margin": 5})
    await kernel.update("book", "b", {"margin": 6})
    created, updated = await past(kernel, "book", "b", who("ann", "clerk"))
    assert set(created["changes"]) == {"owner", "title"}
    assert updated["changes"] == {}
    _, updated = await past(kernel, "book", "b", who("eve", "auditor"))
    assert updated["changes"] == {"margin": {"old": 5, "new": 6}}


async def test_a_secret_is_in_no_change(kernel: Kernel) -> None:
    await kernel.create("book", {"id": "b", "pin": "1234"})
    await kernel.update("book", "b", {"pin": "98765"})
    entries = await past(kernel, "book", "b")
    assert [entry["changes"] for entry in entries] == [{}, {}]
    found = await kernel.engine.system_driver.history.of_record(
        TenantId("default"), "book", "b", limit=10
    )
    assert all(b"pin" not in (e.after or b"") + (e.before or b"") for _, e in found)


async def test_who_may_not_get_a_record_hears_nothing_of_it(kernel: Kernel) -> None:
    await kernel.create("book", {"id": "b", "owner": "ann"})
    with pytest.raises(PermissionDenied):
        await past(kernel, "book", "b", who("eve", "stranger"))
    for id_ in ("b", "none"):
        with pytest.raises(RecordNotFound):
            await past(kernel, "book", id_, who("eve", "clerk"))
    with pytest.raises(RecordNotFound):
        await past(kernel, "book", "b", who("x", *ADMIN, tenant="other"))


async def test_a_deleted_record_is_known_to_those_who_read_all(kernel: Kernel) -> None:
    ann = who("ann", "clerk")
    await kernel.create("book", {"id": "b", "owner": "ann"})
    await kernel.handle_delete(DeleteRequest("book", "b"), ann)
    assert [e["operation"] for e in await past(kernel, "book", "b", who("x", "auditor"))] == [
        "created",
        "deleted",
    ]
    with pytest.raises(RecordNotFound):
        await past(kernel, "book", "b", ann)


async def test_an_id_used_again_does_not_tell_of_its_former_record(kernel: Kernel) -> None:
    await kernel.create("book", {"id": "b", "owner": "ann", "title": "hers"})
    await kernel.delete("book", "b")
    await kernel.create("book", {"id": "b", "owner": "bob"})
    await kernel.handle_update(UpdateRequest("book", "b", b'{"title": "his"}'), who("bob", "clerk"))
    seen = await past(kernel, "book", "b", who("bob", "clerk"))
    assert [entry["operation"] for entry in seen] == ["created", "updated"]
    assert len(await past(kernel, "book", "b", who("x", "auditor"))) == 4


async def test_a_record_that_a_hook_hides_has_no_history(kernel: Kernel) -> None:
    async def hide(ctx: HookContext) -> None:
        ctx.result = None

    await kernel.create("book", {"id": "b"})
    kernel.engine.hooks.register("afterFind", "book", hide)
    with pytest.raises(RecordNotFound):
        await past(kernel, "book", "b")


async def test_a_history_is_walked_by_its_cursors(kernel: Kernel) -> None:
    await kernel.create("book", {"id": "b", "title": "1"})
    for n in range(2, 6):
        await kernel.update("book", "b", {"title": f"{n}"})
    context, versions, after = who("a", *ADMIN), list[list[int]](), None
    while True:
        reply = await kernel.handle_history(HistoryRequest("book", "b", 2, after), context)
        versions.append([entry["version"] for entry in json.loads(reply.items)])
        after = reply.next
        if not reply.has_next:
            break
    assert versions == [[5, 4], [3, 2], [1]]
    first = await kernel.handle_history(HistoryRequest("book", "b", 1), context)
    await kernel.create("book", {"id": "c"})
    for request in (
        HistoryRequest("book", "c", 1, first.next),
        HistoryRequest("book", "b", 1, "x"),
        HistoryRequest("book", "b", 0),
    ):
        with pytest.raises(InvalidQuery):
            await kernel.handle_history(request, context)
    with pytest.raises(TooManyRecords):
        await kernel.handle_history(HistoryRequest("book", "b", 101), context)


async def test_a_page_of_large_entries_is_shorter_and_goes_on(kernel: Kernel) -> None:
    await kernel.create("book", {"id": "b", "title": "x" * 200_000})
    for n in range(4):
        await kernel.update("book", "b", {"title": f"{n}" * 200_000})
    context, count, after = who("a", *ADMIN), 0, None
    for _ in range(5):
        reply = await kernel.handle_history(HistoryRequest("book", "b", after=after), context)
        assert len(reply.items) < 1024 * 1024
        count, after = count + reply.count, reply.next
        if after is None:
            break
    assert count == 5


async def test_an_object_that_does_not_track_says_so(kernel: Kernel) -> None:
    await kernel.create("note", {"id": "n"})
    with pytest.raises(NotSupported):
        await past(kernel, "note", "n")
