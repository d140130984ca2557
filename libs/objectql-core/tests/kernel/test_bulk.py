from __future__ import annotations

import json
from typing import Any

import pytest

from objectql.drivers.protocol import Driver
from objectql.errors import BatchTooLarge, PermissionDenied
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.plugins.context import HookContext
from objectql.query.parse import parse_where
from objectql.wire.messages import BulkReply, BulkRequest, BulkRow, WhereWriteRequest


@pytest.fixture
def settings() -> KernelSettings:
    return KernelSettings(max_bulk_rows=20, bulk_chunk_rows=3, max_affected_rows=15)


def rows(*data: dict[str, Any]) -> tuple[BulkRow, ...]:
    return tuple(BulkRow(json.dumps(d).encode()) for d in data)


def outcome(reply: BulkReply) -> list[str]:
    return [r.error.code if r.error is not None else r.action for r in reply.results]


GOOD = [{"name": f"N{n}", "code": f"c{n}"} for n in range(8)]
BAD = {"name": "clash", "code": "c0"}


async def test_creations_go_in_chunks_and_share_a_batch(kernel: Kernel, driver: Driver) -> None:
    reply = await kernel.bulk(BulkRequest("account", "create", rows(*GOOD)))
    assert outcome(reply) == ["created"] * 8
    assert json.loads(reply.results[3].record or b"")["name"] == "N3"
    events = [event for _, event in await driver.outbox.pending(20)]
    batches = [e.batch for e in events]
    assert [batches.count(batch) for batch in dict.fromkeys(batches)] == [3, 3, 2]


async def test_the_first_failure_ends_the_run_and_earlier_rows_stay(kernel: Kernel) -> None:
    request = BulkRequest("account", "create", rows(*GOOD[:4], BAD, *GOOD[4:]))
    reply = await kernel.bulk(request)
    assert outcome(reply) == ["created"] * 4 + ["UNIQUE_VIOLATION"] + ["NOT_ATTEMPTED"] * 4
    assert await kernel.count("account") == 4


async def test_continue_on_error_goes_on(kernel: Kernel) -> None:
    given = rows(GOOD[0], {"nmae": 1}, GOOD[1], BAD, GOOD[2])
    request = BulkRequest("account", "create", given, continue_on_error=True, return_records=False)
    reply = await kernel.bulk(request)
    assert outcome(reply) == [
        "created", "VALIDATION_FAILED", "created", "UNIQUE_VIOLATION", "created",
    ]  # fmt: skip
    assert all(result.record is None for result in reply.results)
    assert await kernel.count("account") == 3


async def test_atomic_is_all_or_nothing(kernel: Kernel, driver: Driver) -> None:
    given = rows(*GOOD[:2], BAD, GOOD[2])
    reply = await kernel.bulk(
        BulkRequest("account", "create", given, atomic=True, continue_on_error=True)
    )
    assert outcome(reply) == ["ROLLED_BACK"] * 2 + ["UNIQUE_VIOLATION", "NOT_ATTEMPTED"]
    assert await kernel.count("account") == 0
    assert await driver.outbox.pending(10) == ()
    reply = await kernel.bulk(BulkRequest("account", "create", rows(*GOOD), atomic=True))
    assert outcome(reply) == ["created"] * 8


async def test_updates_upserts_and_deletes_name_their_records(kernel: Kernel) -> None:
    made = await kernel.bulk(BulkRequest("account", "create", rows(*GOOD[:2])))
    first, second = (str(result.id) for result in made.results)
    reply = await kernel.bulk(
        BulkRequest(
            "account",
            "update",
            (
                BulkRow(b'{"name": "X"}', id=first),
                BulkRow(b'{"name": "Y"}', external_id="c1", if_version=1),
                BulkRow(b'{"name": "X"}', id=first),
                BulkRow(b"{}", id=second, if_version=1),
                BulkRow(b"{}"),
            ),
            continue_on_error=True,
        )
    )
    assert outcome(reply) == [
        "updated", "updated", "unchanged", "CONCURRENT_UPDATE", "INVALID_REQUEST",
    ]  # fmt: skip
    reply = await kernel.bulk(
        BulkRequest(
            "account", "upsert", rows({"code": "c0", "name": "Z"}, {"code": "n", "name": "N"})
        )
    )
    assert outcome(reply) == ["updated", "created"]
    reply = await kernel.bulk(
        BulkRequest("account", "upsert", rows({"name": "Z", "balance": 4}), match=("name",))
    )
    assert outcome(reply) == ["updated"]
    gone = (BulkRow(id=first), BulkRow(id="gone"), BulkRow(id=second))
    reply = await kernel.bulk(BulkRequest("account", "delete", gone, continue_on_error=True))
    assert outcome(reply) == ["deleted", "RECORD_NOT_FOUND", "deleted"]


async def test_hooks_run_for_every_row(kernel: Kernel) -> None:
    seen: list[Any] = []

    def hook(ctx: HookContext) -> None:
        assert ctx.data is not None
        seen.append(ctx.data["name"])
        if ctx.data["name"] == "N1":
            ctx.abort("not this one")

    kernel.engine.hooks.register("beforeCreate", "account", hook)
    request = BulkRequest("account", "create", rows(*GOOD[:3]), continue_on_error=True)
    assert outcome(await kernel.bulk(request)) == ["created", "HOOK_ABORTED", "created"]
    assert seen == ["N0", "N1", "N2"]


async def test_what_a_failed_row_did_is_forgotten_with_it(kernel: Kernel) -> None:
    committed: list[str] = []

    async def companion(ctx: HookContext) -> None:
        assert ctx.api is not None
        await ctx.api.create("contact", {"name": ctx.result["name"]})
        if ctx.result["name"] == "N1":
            ctx.abort("not this one")

    kernel.engine.hooks.register("afterCreate", "account", companion)
    kernel.engine.hooks.register(
        "afterCommit", "contact", lambda ctx: committed.append(ctx.result["name"])
    )
    request = BulkRequest("account", "create", rows(*GOOD[:3]), continue_on_error=True)
    assert outcome(await kernel.bulk(request)) == ["created", "HOOK_ABORTED", "created"]
    assert await kernel.count("contact") == 2
    assert committed == ["N0", "N2"]


async def test_a_key_makes_the_whole_request_happen_once(kernel: Kernel, ask: Any) -> None:
    for atomic in (True, False):
        context = ask("sales", key=f"k{atomic}")
        request = BulkRequest(
            "account", "create", rows({"name": "A", "code": str(atomic)}), atomic=atomic
        )
        first = await kernel.bulk(request, context=context)
        assert await kernel.bulk(request, context=context) == first
    assert await kernel.count("account") == 2


async def test_limits_and_permissions_are_checked_before_anything(kernel: Kernel, ask: Any) -> None:
    with pytest.raises(BatchTooLarge) as caught:
        await kernel.bulk(BulkRequest("account", "create", (BulkRow(),) * 21))
    assert (caught.value.count, caught.value.max) == (21, 20)
    request = BulkRequest("account", "create", rows(GOOD[0]))
    with pytest.raises(PermissionDenied):
        await kernel.bulk(request, context=ask("viewer"))
    assert (await kernel.bulk(BulkRequest("account", "create", ()))).results == ()


async def test_write_where_goes_through_the_pipeline_and_is_bounded(
    kernel: Kernel, ask: Any
) -> None:
    await kernel.bulk(BulkRequest("account", "create", rows(*GOOD)))
    names = parse_where({"name": {"$in": ["N1", "N2"]}})
    request = WhereWriteRequest("account", "update", names, b'{"balance": {"$inc": 2}}')
    context = ask("sales", key="w")
    for _ in range(2):
        assert (await kernel.handle_write_where(request, context)).count == 2
    assert await kernel.count("account", {"where": {"balance": 2}}) == 2
    gone = WhereWriteRequest("account", "delete", parse_where({"balance": 2}))
    assert (await kernel.handle_write_where(gone, ask("admin"))).count == 2
    assert await kernel.count("account") == 6
    await kernel.bulk(BulkRequest("account", "create", rows(*({"name": "M"} for _ in range(10)))))
    everything = WhereWriteRequest("account", "delete")
    with pytest.raises(BatchTooLarge):
        await kernel.handle_write_where(everything, ask("admin"))
    assert await kernel.count("account") == 16
