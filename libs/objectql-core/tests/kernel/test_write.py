from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from objectql.context import Context
from objectql.drivers.protocol import Driver
from objectql.errors import (
    BatchTooLarge,
    DeleteRestricted,
    HookAborted,
    HookFailed,
    HookRecursion,
    IdempotencyMismatch,
    InvalidJson,
    PermissionDenied,
    RecordNotFound,
    UniqueViolation,
    ValidationFailed,
    VersionConflict,
)
from objectql.kernel.features import Features, KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.plugins.context import HookContext
from objectql.wire.messages import (
    CloneRequest,
    CreateRequest,
    DeleteRequest,
    UpdateRequest,
)


@pytest.fixture(params=[True, False], ids=["direct", "unit"])
def settings(request: pytest.FixtureRequest) -> KernelSettings:
    """Every promise holds on both ways of a write."""
    return KernelSettings(features=Features(direct_writes=request.param))


async def kinds(driver: Driver) -> list[str]:
    return [f"{e.object} {e.kind}" for _, e in await driver.outbox.pending(1000)]


async def test_create_fills_defaults_and_stamps_the_record(kernel: Kernel, ask: Any) -> None:
    request = CreateRequest("account", b'{"name": "A", "version": 9, "created_by": "me"}')
    reply = await kernel.handle_create(request, ask("sales"))
    record = json.loads(reply.record)
    assert (record["stage"], record["balance"], record["version"]) == ("new", 0, 1)
    assert record["created_by"] == record["updated_by"] == "u1"
    assert record["created_at"] == record["updated_at"]
    assert sorted(reply.dropped) == ["created_by", "version"]
    assert record["id"] == reply.id


async def test_a_given_id_is_kept_and_a_token_is_none(kernel: Kernel) -> None:
    assert (await kernel.create("account", {"id": "x-1", "name": "A"}))["id"] == "x-1"
    for bad in ("@me", "{today}", "$current_user.id"):
        with pytest.raises(ValidationFailed):
            await kernel.create("account", {"id": bad, "name": "A"})


async def test_all_problems_of_a_record_are_reported_at_once(kernel: Kernel) -> None:
    with pytest.raises(ValidationFailed) as caught:
        await kernel.create("account", {"nmae": "A", "balance": "much", "stage": "old"})
    assert {(i.path, i.code) for i in caught.value.issues} >= {
        ("name", "required"),
        ("nmae", "unknown_field"),
        ("stage", "invalid_option"),
    }


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
async def test_what_is_no_json_object_is_refused(kernel: Kernel, ask: Any, body: bytes) -> None:
    with pytest.raises(InvalidJson):
        await kernel.handle_create(CreateRequest("account", body), ask("admin"))


async def test_update_changes_what_is_given_and_counts_versions(
    kernel: Kernel, driver: Driver
) -> None:
    made = await kernel.create("account", {"name": "A"})
    changed = await kernel.update("account", made["id"], {"balance": {"$inc": 5}, "name": "B"})
    assert (changed["balance"], changed["name"], changed["version"]) == (5, "B", 2)
    again = await kernel.update("account", made["id"], {"name": "B"})
    assert again == changed
    assert await kinds(driver) == ["account created", "account updated"]


async def test_readonly_keys_are_dropped_and_reported(kernel: Kernel, ask: Any) -> None:
    made = await kernel.create("account", {"name": "A"})
    request = UpdateRequest("account", made["id"], b'{"score": 3, "name": "B"}')
    reply = await kernel.handle_update(request, ask("sales"))
    assert reply.dropped == ("score",)
    assert json.loads(reply.record)["score"] is None


async def test_replace_gives_absent_fields_their_default_or_null(kernel: Kernel, ask: Any) -> None:
    made = await kernel.create("account", {"name": "A", "code": "c", "balance": 7, "stage": "won"})
    request = UpdateRequest("account", made["id"], b'{"name": "B"}', replace=True)
    record = json.loads((await kernel.handle_update(request, ask("sales"))).record)
    assert (record["code"], record["balance"], record["stage"]) == (None, 0, "new")


async def test_a_stale_version_or_instant_is_refused(kernel: Kernel, ask: Any) -> None:
    made = await kernel.create("account", {"name": "A"})
    id_ = made["id"]
    ok = UpdateRequest("account", id_, b'{"name":"B"}', if_updated_at=made["updated_at"])
    await kernel.handle_update(ok, ask("sales"))
    for request in (
        UpdateRequest("account", id_, b'{"name":"C"}', if_version=1),
        UpdateRequest("account", id_, b'{"name":"C"}', if_updated_at="2001-01-01T00:00:00Z"),
    ):
        with pytest.raises(VersionConflict) as caught:
            await kernel.handle_update(request, ask("sales"))
        assert caught.value.current_version == 2
    with pytest.raises(VersionConflict):
        await kernel.handle_delete(DeleteRequest("account", id_, if_version=1), ask("admin"))
    await kernel.handle_delete(DeleteRequest("account", id_, if_version=2), ask("admin"))


async def test_a_missing_record_is_not_found(kernel: Kernel, ask: Any) -> None:
    with pytest.raises(RecordNotFound):
        await kernel.update("account", "gone", {"name": "x"})
    with pytest.raises(RecordNotFound):
        await kernel.handle_delete(DeleteRequest("account", "gone"), ask("admin"))


async def test_unique_values_are_unique(kernel: Kernel) -> None:
    await kernel.create("account", {"name": "A", "code": "c"})
    with pytest.raises(UniqueViolation) as caught:
        await kernel.create("account", {"name": "B", "code": "c"})
    assert caught.value.fields == ("code",)


async def test_autonumbers_count_up_and_callers_cannot_set_them(kernel: Kernel) -> None:
    numbers = [
        (await kernel.create("invoice", {"total": n, "number": "X"}))["number"] for n in range(2)
    ]
    assert [n[-5:] for n in numbers] == ["-0001", "-0002"]
    assert numbers[0].startswith("INV-20")


async def test_rules_run_on_the_record_as_it_will_be(kernel: Kernel) -> None:
    made = await kernel.create("invoice", {"total": 1})
    with pytest.raises(ValidationFailed, match="negative"):
        await kernel.update("invoice", made["id"], {"total": {"$inc": -5}})
    with pytest.raises(ValidationFailed):
        await kernel.create("invoice", {"total": -1})


async def test_the_same_key_and_body_have_one_effect(kernel: Kernel, ask: Any) -> None:
    context = ask("sales", key="k1")
    first = await kernel.create("account", {"name": "A"}, context=context)
    assert await kernel.create("account", {"name": "A"}, context=context) == first
    assert await kernel.count("account") == 1
    with pytest.raises(IdempotencyMismatch):
        await kernel.create("account", {"name": "B"}, context=context)
    update = ask("sales", key="k2")
    for _ in range(2):
        body = b'{"balance": {"$inc": 5}}'
        request = UpdateRequest("account", first["id"], body, if_version=1)
        reply = await kernel.handle_update(request, update)
        assert (reply.version, json.loads(reply.record)["balance"]) == (2, 5)
    for other in (
        UpdateRequest("account", first["id"], b'{"balance": {"$inc": 6}}', if_version=1),
        UpdateRequest("account", first["id"], b'{"balance": {"$inc": 5}}'),
    ):
        with pytest.raises(IdempotencyMismatch):
            await kernel.handle_update(other, update)
    delete = ask("admin", key="k3")
    for _ in range(2):
        gone = await kernel.handle_delete(DeleteRequest("account", first["id"]), delete)
        assert gone.id == first["id"]


async def test_concurrent_requests_with_one_key_have_one_effect(kernel: Kernel, ask: Any) -> None:
    context = ask("sales", key="k")
    replies = await asyncio.gather(
        *(kernel.create("account", {"name": "A"}, context=context) for _ in range(5))
    )
    assert len({reply["id"] for reply in replies}) == 1
    assert await kernel.count("account") == 1


async def test_a_failed_request_leaves_its_key_free(kernel: Kernel, ask: Any) -> None:
    context = ask("admin", key="k")
    with pytest.raises(RecordNotFound):
        await kernel.handle_delete(DeleteRequest("account", "a"), context)
    await kernel.create("account", {"id": "a", "name": "A"})
    await kernel.handle_delete(DeleteRequest("account", "a"), context)


async def test_roles_decide_and_strangers_may_nothing(kernel: Kernel, ask: Any) -> None:
    made = await kernel.create("account", {"name": "A"}, context=ask("sales"))
    id_ = made["id"]
    refused: list[tuple[Context, Callable[[Context], Awaitable[Any]]]] = [
        (ask("viewer"), lambda c: kernel.create("account", {"name": "B"}, context=c)),
        (ask("viewer"), lambda c: kernel.update("account", id_, {}, context=c)),
        (ask("sales"), lambda c: kernel.delete("account", id_, context=c)),
        (ask(), lambda c: kernel.get("account", id_, context=c)),
        (ask("sales"), lambda c: kernel.find("contact", context=c)),
        (ask("sales"), lambda c: kernel.create("contact", {"name": "x"}, context=c)),
    ]
    for context, work in refused:
        with pytest.raises(PermissionDenied):
            await work(context)
    assert await kernel.get("account", made["id"], context=ask("viewer")) == made
    assert await kernel.delete("account", made["id"], context=ask("admin")) is True


async def test_hooks_run_in_order_inside_the_transaction(kernel: Kernel) -> None:
    trace: list[Any] = []
    hooks = kernel.engine.hooks

    async def before(ctx: HookContext) -> None:
        assert ctx.data is not None
        trace.append(("before", ctx.operation, ctx.is_modified("name")))
        ctx.data["name"] += "!"
        if ctx.operation == "update":
            ctx.data["score"] = 7  # readonly for callers, not for hooks
        ctx.state["n"] = 1

    async def after(ctx: HookContext) -> None:
        assert ctx.api is not None
        inside = await ctx.api.get("account", str(ctx.id))
        trace.append(("after", ctx.state, inside is not None and inside["name"]))
        ctx.result = {**ctx.result, "extra": 1}

    for event in ("Create", "Update"):
        hooks.register(f"before{event}", "account", before)
        hooks.register(f"after{event}", "account", after)
    made = await kernel.create("account", {"name": "A"})
    changed = await kernel.update("account", made["id"], {"name": "B"})
    assert (made["name"], made["extra"], changed["name"], changed["score"]) == ("A!", 1, "B!", 7)
    assert trace == [
        ("before", "create", True),
        ("after", {"n": 1}, "A!"),
        ("before", "update", True),
        ("after", {"n": 1}, "B!"),
    ]


async def test_what_hooks_leave_is_checked_again(kernel: Kernel) -> None:
    def spoil(ctx: HookContext) -> None:
        assert ctx.data is not None
        ctx.data["stage"] = "nonsense"

    def mend(ctx: HookContext) -> None:
        assert ctx.data is not None
        ctx.data["stage"] = "won"
        ctx.data.setdefault("name", "given by a hook")

    remove = kernel.engine.hooks.register("beforeCreate", "account", spoil)
    with pytest.raises(ValidationFailed):
        await kernel.create("account", {"name": "A"})
    remove()
    kernel.engine.hooks.register("beforeCreate", "account", mend)
    assert (await kernel.create("account", {"stage": "bad"}))["name"] == "given by a hook"
    with pytest.raises(ValidationFailed):  # an unknown key is the caller's mistake all the same
        await kernel.create("account", {"nope": 1})


async def test_a_failing_after_hook_rolls_everything_back(kernel: Kernel, driver: Driver) -> None:
    async def writes_then_fails(ctx: HookContext) -> None:
        assert ctx.api is not None
        await ctx.api.create("contact", {"name": "made by the hook"})
        raise RuntimeError("boom")

    remove = kernel.engine.hooks.register("afterCreate", "account", writes_then_fails)
    with pytest.raises(HookFailed):
        await kernel.create("account", {"name": "A"})
    remove()
    assert (await kernel.count("account"), await kernel.count("contact")) == (0, 0)
    assert await kinds(driver) == []


async def test_a_hook_may_refuse_with_its_reason(kernel: Kernel) -> None:
    kernel.engine.hooks.register(
        "beforeDelete", "account", lambda ctx: ctx.abort("keep it", code="KEEP")
    )
    made = await kernel.create("account", {"name": "A"})
    with pytest.raises(HookAborted) as caught:
        await kernel.delete("account", made["id"])
    assert (caught.value.reason, caught.value.hook_code) == ("keep it", "KEEP")
    assert await kernel.get("account", made["id"]) is not None


async def test_after_commit_hooks_see_what_is_durable_and_cannot_undo_it(kernel: Kernel) -> None:
    seen: list[Any] = []

    async def tell(ctx: HookContext) -> None:
        seen.append((ctx.operation, ctx.transaction, await kernel.count("account")))
        raise RuntimeError("too late")

    kernel.engine.hooks.register("afterCommit", "account", tell)
    await kernel.create("account", {"name": "A"})
    assert seen == [("create", None, 1)]
    assert await kernel.count("account") == 1


async def test_hooks_that_call_themselves_are_stopped(kernel: Kernel) -> None:
    async def again(ctx: HookContext) -> None:
        assert ctx.api is not None
        await ctx.api.create("account", {"name": "A"})

    kernel.engine.hooks.register("afterCreate", "account", again)
    with pytest.raises(HookRecursion):
        await kernel.create("account", {"name": "A"})
    assert await kernel.count("account") == 0


async def test_a_hook_acts_with_the_callers_permissions(kernel: Kernel, ask: Any) -> None:
    async def pries(ctx: HookContext) -> None:
        assert ctx.api is not None
        await ctx.api.find("contact")

    kernel.engine.hooks.register("afterCreate", "account", pries)
    with pytest.raises(PermissionDenied):
        await kernel.create("account", {"name": "A"}, context=ask("sales"))


async def test_deletion_empties_cascades_or_is_refused(kernel: Kernel, driver: Driver) -> None:
    account = (await kernel.create("account", {"name": "A"}))["id"]
    contact = (await kernel.create("contact", {"name": "C", "account": account}))["id"]
    invoice = (await kernel.create("invoice", {"account": account, "total": 1}))["id"]
    line = (await kernel.create("line", {"invoice": invoice, "title": "L"}))["id"]
    touched: list[str] = []
    remove = kernel.engine.hooks.register(
        "beforeUpdate", "*", lambda ctx: touched.append(ctx.object_name)
    )
    with pytest.raises(DeleteRestricted) as caught:
        await kernel.delete("account", account)
    remove()
    assert caught.value.referenced_by == "invoice.account"
    assert touched == []  # what restricts is asked before anything is emptied
    deleted: list[str] = []
    kernel.engine.hooks.register("beforeDelete", "*", lambda ctx: deleted.append(ctx.object_name))
    assert await kernel.delete("invoice", invoice) is True
    assert await kernel.get("line", line) is None
    assert await kernel.delete("account", account) is True
    emptied = await kernel.get("contact", contact)
    assert emptied is not None
    assert (emptied["account"], emptied["version"]) == (None, 2)
    assert deleted == ["invoice", "line", "account"]
    assert (await kinds(driver))[4:] == [
        "line deleted",
        "invoice deleted",
        "contact updated",
        "account deleted",
    ]


async def test_cascades_end_in_circles_and_at_the_limit(driver: Driver) -> None:
    app = {
        "name": "graph",
        "objects": {
            "node": {
                "fields": {
                    "next": {"type": "lookup", "reference": "node", "deleteBehavior": "cascade"}
                }
            }
        },
    }
    kernel = Kernel([app, driver], settings=KernelSettings(max_affected_rows=5))
    await kernel.start()
    await kernel.create("node", {"id": "n0"})
    for n in range(1, 4):
        await kernel.create("node", {"id": f"n{n}", "next": f"n{n - 1}"})
    await kernel.update("node", "n0", {"next": "n3"})
    assert await kernel.delete("node", "n0") is True
    assert await kernel.count("node") == 0
    await kernel.create("node", {"id": "m0"})
    for n in range(1, 7):
        await kernel.create("node", {"id": f"m{n}", "next": f"m{n - 1}"})
    with pytest.raises(BatchTooLarge):
        await kernel.delete("node", "m0")
    assert await kernel.count("node") == 7
    await kernel.stop()


async def test_a_clone_copies_what_may_be_copied(kernel: Kernel, ask: Any) -> None:
    made = await kernel.create("account", {"name": "A", "code": "c", "balance": 3})
    request = CloneRequest("account", made["id"], b'{"name": "B"}')
    copy = json.loads((await kernel.handle_clone(request, ask("sales"))).record)
    assert (copy["name"], copy["code"], copy["balance"]) == ("B", None, 3)
    assert copy["id"] != made["id"]
