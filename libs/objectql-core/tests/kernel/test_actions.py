from __future__ import annotations

import asyncio
from typing import Any, Self

import msgspec
import pytest

from objectql.clock import SystemClock
from objectql.drivers.protocol import Driver
from objectql.errors import (
    ActionUnknown,
    DeadlineExceeded,
    HookAborted,
    HookFailed,
    InvalidRequest,
    NotSupported,
    PermissionDenied,
    RateLimited,
    RecordNotFound,
    ValidationFailed,
)
from objectql.kernel.actions import ActionContext, parse_action_reference
from objectql.kernel.kernel import Kernel
from objectql.rates.limiter import Limiter

from .conftest import CRM, PERMISSIONS


async def promote(ctx: ActionContext) -> Any:
    assert ctx.record is not None
    assert ctx.id is not None
    balance = ctx.record["balance"] + ctx.input["by"]
    return await ctx.api.update("account", ctx.id, {"balance": balance})


async def test_an_action_gets_its_record_params_and_api(kernel: Kernel, ask: Any) -> None:
    kernel.engine.actions.register("account", "promote", promote)
    made = await kernel.create("account", {"name": "A", "balance": 2})
    result = await kernel.action("account.promote", {"by": 3}, id=made["id"], context=ask("sales"))
    assert (result["balance"], result["updated_by"]) == (5, "u1")


@pytest.mark.parametrize(
    ("reference", "params", "id_", "error"),
    [
        ("account.promot", {}, "a", ActionUnknown),
        ("account.promote", {"by": 1}, None, InvalidRequest),
        ("account.promote", {"by": 1}, "gone", RecordNotFound),
        ("account.promote", {}, "a", ValidationFailed),
        ("account.promote", {"by": "x"}, "a", ValidationFailed),
        ("account.promote", {"by": 1, "bye": 2}, "a", ValidationFailed),
        ("account.sweep", {}, "a", NotSupported),
        ("nothing", {}, None, ActionUnknown),
    ],
)
async def test_a_call_that_does_not_fit_is_refused(
    kernel: Kernel, reference: str, params: Any, id_: str | None, error: type[Exception]
) -> None:
    kernel.engine.actions.register("account", "promote", promote)
    await kernel.create("account", {"id": "a", "name": "A"})
    with pytest.raises(error):
        await kernel.action(reference, params, id=id_)


async def test_a_global_action_refuses_a_record_id(kernel: Kernel) -> None:
    kernel.engine.actions.register("account", "sweep", lambda _: 1)
    with pytest.raises(InvalidRequest):
        await kernel.action("account.sweep", id="a")
    assert await kernel.action("account.sweep") == 1


async def test_an_action_with_a_transaction_is_undone_as_a_whole(kernel: Kernel) -> None:
    async def sweep(ctx: ActionContext) -> None:
        await ctx.api.create("account", {"name": "A"})
        raise RuntimeError("boom")

    kernel.engine.actions.register("account", "sweep", sweep)
    kernel.engine.actions.register("global", "loose", sweep)
    with pytest.raises(HookFailed):
        await kernel.action("account.sweep")
    assert await kernel.count("account") == 0
    with pytest.raises(HookFailed):
        await kernel.action("loose")
    assert await kernel.count("account") == 1


async def test_an_action_may_refuse_and_needs_permission(kernel: Kernel, ask: Any) -> None:
    kernel.engine.actions.register("account", "sweep", lambda ctx: ctx.abort("no", code="N"))
    with pytest.raises(HookAborted, match="no"):
        await kernel.action("account.sweep", context=ask("sales"))
    with pytest.raises(PermissionDenied):
        await kernel.action("account.sweep", context=ask("viewer"))


async def test_an_action_that_hangs_ends_at_the_deadline(kernel: Kernel, ask: Any) -> None:
    async def hangs(_: ActionContext) -> None:
        await asyncio.Event().wait()

    kernel.engine.actions.register("global", "hang", hangs)
    soon = msgspec.structs.replace(ask("admin"), deadline_ms=SystemClock().now_ms() + 30)
    with pytest.raises(DeadlineExceeded):
        await kernel.action("hang", context=soon)


async def test_an_action_whose_time_is_over_is_not_run(kernel: Kernel, ask: Any) -> None:
    ran: list[int] = []
    kernel.engine.actions.register("global", "note", lambda _: ran.append(1))
    late = msgspec.structs.replace(ask("admin"), deadline_ms=1)
    with pytest.raises(DeadlineExceeded):
        await kernel.action("note", context=late)
    assert ran == []


def test_a_reference_names_object_and_action() -> None:
    assert parse_action_reference("account.send") == ("account", "send")
    assert parse_action_reference("account:send") == ("account", "send")
    assert parse_action_reference("send") == ("global", "send")


async def test_of_calls_at_once_the_condition_lets_one_pass(driver: Driver, ask: Any) -> None:
    rule = {
        "execute": ["sales"],
        "conditions": [{"field": "stage", "operator": "=", "value": "new"}],
    }
    permission = {**PERMISSIONS["account"], "action_permissions": {"promote": rule}}
    kernel = Kernel([driver, {**CRM, "permissions": {"account": permission}}])
    seen: list[Any] = []

    async def win(ctx: ActionContext) -> Any:
        assert ctx.record is not None
        assert ctx.id is not None
        seen.append(ctx.record["stage"])
        await asyncio.sleep(0.01)
        await ctx.api.update("account", ctx.id, {"stage": "won"})
        return len(seen)

    async def call(key: str | None = None) -> Any:
        return await kernel.action(
            "account.promote", {"by": 1}, id="a", context=ask("sales", key=key)
        )

    kernel.engine.actions.register("account", "promote", win)
    await kernel.start()
    try:
        await kernel.create("account", {"id": "a", "name": "A"})
        results = await asyncio.gather(*(call() for _ in range(6)), return_exceptions=True)
        assert [r for r in results if not isinstance(r, PermissionDenied)] == [1]
        await kernel.update("account", "a", {"stage": "new"})
        keyed = [call(f"k{n}") for n in range(6)]
        results = await asyncio.gather(*keyed, return_exceptions=True)
        assert [r for r in results if not isinstance(r, PermissionDenied)] == [2]
        passed = next(n for n, r in enumerate(results) if r == 2)
        assert await call(f"k{passed}") == 2  # the condition was for the first time
        assert seen == ["new", "new"]
    finally:
        await kernel.stop()


# --- how often ---------------------------------------------------------------------------------


class HeldClock(SystemClock):
    """Time that buckets go by stands until it is moved."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def monotonic_s(self) -> float:
        return self.time_s


class Sending:
    """A kernel with an action that each caller may run so often only."""

    def __init__(self, driver: Driver, **rate_limit: int) -> None:
        rule = {"execute": ["sales"], "rate_limit": rate_limit}
        permission = {**PERMISSIONS["account"], "action_permissions": {"promote": rule}}
        self.clock = HeldClock()
        self.kernel = Kernel(
            [driver, {**CRM, "permissions": {"account": permission}}],
            limiter=Limiter(self.clock),
        )
        self.runs = 0
        self.kernel.engine.actions.register("account", "promote", self._run)

    async def _run(self, ctx: ActionContext) -> int:
        self.runs += 1
        return self.runs

    async def __aenter__(self) -> Self:
        await self.kernel.start()
        await self.kernel.create("account", {"id": "a", "name": "A"})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kernel.stop()

    async def call(self, context: Any, params: Any = None) -> Any:
        """The answer, or the milliseconds to wait."""
        try:
            given = {"by": 1} if params is None else params
            return await self.kernel.action("account.promote", given, id="a", context=context)
        except RateLimited as exc:
            return -(exc.retry_after_ms or 0)


async def test_each_caller_runs_an_action_so_often(driver: Driver, ask: Any) -> None:
    async with Sending(driver, requests_per_hour=2) as sending:
        answers = [await sending.call(ask("sales")) for _ in range(4)]
        assert answers == [1, 2, -1_800_000, -1_800_000]
        assert await sending.call(ask("sales", id="u2")) == 3
        sending.clock.time_s += 1800
        assert [await sending.call(ask("sales")) for _ in range(2)] == [4, -1_800_000]
        assert sending.runs == 4


async def test_administrators_are_counted_as_well(driver: Driver, ask: Any) -> None:
    async with Sending(driver, requests_per_day=1) as sending:
        assert [await sending.call(ask("admin")) for _ in range(2)] == [1, -86_400_000]


async def test_what_the_hour_refuses_does_not_use_up_the_day(driver: Driver, ask: Any) -> None:
    async with Sending(driver, requests_per_day=3, requests_per_hour=1) as sending:
        answers: list[Any] = []
        for _ in range(4):
            answers += [await sending.call(ask("sales")) for _ in range(5)]
            sending.clock.time_s += 3600
        assert [answer for answer in answers if answer > 0] == [1, 2, 3]


async def test_a_repeated_request_counts_once(driver: Driver, ask: Any) -> None:
    async with Sending(driver, requests_per_hour=2) as sending:
        assert [await sending.call(ask("sales", key="k1")) for _ in range(5)] == [1] * 5
        assert await sending.call(ask("sales", key="k2")) == 2
        assert await sending.call(ask("sales", key="k3")) < 0
        assert await sending.call(ask("sales", key="k1")) == 1


async def test_what_is_refused_for_other_reasons_does_not_count(driver: Driver, ask: Any) -> None:
    async with Sending(driver, requests_per_hour=1) as sending:
        with pytest.raises(ValidationFailed):
            await sending.call(ask("sales"), {"by": "x"})
        with pytest.raises(PermissionDenied):
            await sending.call(ask("viewer"))
        assert await sending.call(ask("sales")) == 1
