from __future__ import annotations

import asyncio
import time

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.ids import TenantId
from objectql.kernel.pipeline import HOLD_S, Pipeline
from objectql.plugins.middleware import MiddlewareRegistry


async def answer(request: str, _context: Context) -> str:  # noqa: RUF029 - the core's shape
    return request


class Everybody:
    """All tenants may act."""

    def count(self, tenant: TenantId) -> None:
        assert tenant

    def is_active(self, tenant: TenantId) -> bool:
        return bool(tenant)

    async def spend(self, tenant: TenantId) -> None:
        raise AssertionError(tenant)

    async def admit(self, tenant: TenantId) -> None:
        raise AssertionError(tenant)


def started() -> tuple[Pipeline, Context]:
    pipeline = Pipeline(MiddlewareRegistry(), SystemClock(), Everybody())
    pipeline.open()
    deadline_ms = time.time_ns() // 1_000_000 + 5_000
    return pipeline, Context(Actor(id="ann"), deadline_ms=deadline_ms, request_id="r")


async def test_operations_wait_while_newer_metadata_is_taken_over() -> None:
    pipeline, context = started()
    with pipeline.held(), pipeline.held():
        waiting = asyncio.ensure_future(pipeline.run("find", "task", "x", context, answer))
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        assert not done
    assert await waiting == "x"
    assert await pipeline.run("find", "task", "y", context, answer) == "y"


async def test_operations_do_not_wait_for_ever() -> None:
    pipeline, context = started()
    began_s = time.monotonic()
    with pipeline.held():
        assert await pipeline.run("find", "task", "x", context, answer) == "x"
    assert HOLD_S <= time.monotonic() - began_s + 0.05 < HOLD_S + 2
