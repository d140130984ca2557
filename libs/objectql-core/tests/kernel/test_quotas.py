"""What a tenant may have and ask for, on every driver and by every way to create records."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from objectql.clock import SystemClock
from objectql.context import SYSTEM_ROLE, Actor, Context
from objectql.drivers.protocol import Driver
from objectql.errors import (
    ObjectQLError,
    PermissionDenied,
    QuotaExceeded,
    RowRolledBack,
    TenantUnknown,
    Unauthenticated,
)
from objectql.ids import TenantId
from objectql.kernel.kernel import Kernel
from objectql.kernel.tenancy.quotas import FRESH_S, SURE_S
from objectql.rates.limiter import Limiter
from objectql.wire.identity import SignInRequest
from objectql.wire.messages import (
    BatchOperation,
    BatchRequest,
    BulkRequest,
    BulkRow,
    CloneRequest,
)
from objectql.wire.tenants import TenantChangeRequest, TenantCreateRequest, TenantUsageRequest

from .conftest import CRM

OPERATOR = Actor(id="op", roles=(SYSTEM_ROLE,))
DATA = b'{"name":"A"}'


class MovedClock(SystemClock):
    """The machine's clock, and what it was moved by."""

    def __init__(self) -> None:
        self.moved_s = 0.0

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.moved_s


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def kernel(driver: Driver, clock: MovedClock) -> AsyncGenerator[Kernel]:
    kernel = Kernel([driver, CRM], clock=clock, limiter=Limiter(clock))
    await kernel.start()
    yield kernel
    await kernel.stop()


def by(actor: Actor) -> Context:
    return Context(actor, SystemClock().now_ms() + 30_000, "r1")


def of(tenant: str = "acme") -> Context:
    return by(Actor(id="u1", tenant=TenantId(tenant), roles=("admin",)))


async def register(kernel: Kernel, id: str = "acme", **quotas: int) -> None:
    document = json.dumps({"id": id, "quotas": quotas}).encode()
    await kernel.tenancy.handle_create(TenantCreateRequest(document), by(OPERATOR))


async def change(kernel: Kernel, id: str = "acme", **quotas: int) -> None:
    request = TenantChangeRequest(id, json.dumps({"quotas": quotas}).encode())
    await kernel.tenancy.handle_change(request, by(OPERATOR))


async def usage(kernel: Kernel, id: str = "acme") -> Any:
    reply = await kernel.tenancy.handle_usage(TenantUsageRequest(id), by(OPERATOR))
    return json.loads(reply.body)


async def account(kernel: Kernel, tenant: str = "acme", **data: Any) -> str:
    made = await kernel.create("account", {"name": "A", **data}, context=of(tenant))
    return made["id"]


async def in_bulk(kernel: Kernel, rows: int, *, atomic: bool = False) -> int:
    """How many were created; where that is none, raises why."""
    request = BulkRequest("account", "create", (BulkRow(data=DATA),) * rows, atomic=atomic)
    reply = await kernel.bulk(request, context=of())
    errors = [result.error for result in reply.results if result.error is not None]
    if len(errors) == rows:
        raise ObjectQLError.from_info(next(e for e in errors if e.code != RowRolledBack.code))
    return rows - len(errors)


def batch(rows: int) -> BatchRequest:
    return BatchRequest((BatchOperation("account", "create", None, DATA),) * rows)


# --- records -----------------------------------------------------------------------------------


async def test_a_tenant_has_no_more_records_than_its_quota(kernel: Kernel) -> None:
    await register(kernel, records=2)
    await account(kernel)
    await kernel.create("contact", {"name": "B"}, context=of())
    with pytest.raises(QuotaExceeded) as refused:
        await account(kernel)
    assert refused.value.http == 429
    assert not refused.value.retryable
    assert refused.value.details() == {"quota": "records", "limit": 2}
    assert (await usage(kernel))["records"] == 2


WAYS: dict[str, Callable[[Kernel], Awaitable[Any]]] = {
    "create": lambda k: k.create("account", {"name": "A"}, context=of()),
    "bulk": lambda k: in_bulk(k, 1),
    "atomic bulk": lambda k: in_bulk(k, 1, atomic=True),
    "batch": lambda k: k.batch(batch(1), context=of()),
    "upsert": lambda k: k.batch(
        BatchRequest((BatchOperation("account", "upsert", "new", DATA),)), context=of()
    ),
    "clone": lambda k: k.handle_clone(CloneRequest("account", "first"), of()),
}


@pytest.mark.parametrize("way", WAYS)
async def test_the_quota_holds_for_every_way_to_create(kernel: Kernel, way: str) -> None:
    await register(kernel, records=2)
    await account(kernel, id="first")
    await WAYS[way](kernel)
    with pytest.raises(QuotaExceeded):
        await WAYS[way](kernel) if way != "upsert" else await WAYS["create"](kernel)
    assert (await usage(kernel))["records"] == 2


async def test_what_comes_together_is_counted_together(kernel: Kernel) -> None:
    await register(kernel, records=5)
    with pytest.raises(QuotaExceeded):
        await in_bulk(kernel, 6, atomic=True)
    with pytest.raises(QuotaExceeded):
        await kernel.batch(batch(6), context=of())
    assert (await usage(kernel))["records"] == 0


async def test_what_was_undone_is_free_again_before_long(kernel: Kernel, clock: MovedClock) -> None:
    await register(kernel, records=5)
    with pytest.raises(QuotaExceeded):
        await kernel.batch(batch(6), context=of())
    clock.moved_s += FRESH_S * 100
    assert await in_bulk(kernel, 5) == 5
    assert (await usage(kernel))["records"] == 5


async def test_of_rows_that_are_not_one_those_are_created_that_there_is_room_for(
    kernel: Kernel,
) -> None:
    await register(kernel, records=5)
    assert await in_bulk(kernel, 6) == 5


async def test_a_record_that_is_deleted_makes_room(kernel: Kernel, clock: MovedClock) -> None:
    await register(kernel, records=1)
    id_ = await account(kernel)
    assert await kernel.delete("account", id_, context=of())
    clock.moved_s += SURE_S * 100
    await account(kernel)
    with pytest.raises(QuotaExceeded):
        await account(kernel)


async def test_another_kernel_sees_what_this_one_created(
    kernel: Kernel, driver: Driver, clock: MovedClock
) -> None:
    """By less than a count apart they may differ, and no longer."""
    await register(kernel, records=3)
    other = Kernel([driver], clock=clock)
    await other.tenants.converge()
    for _ in range(2):
        await account(kernel)
    await other.publisher.converge()
    other.pipeline.open()
    await account(other)
    with pytest.raises(QuotaExceeded):
        await account(other)


async def test_who_is_full_may_still_change_and_delete(kernel: Kernel) -> None:
    await register(kernel, records=1)
    id_ = await account(kernel)
    with pytest.raises(QuotaExceeded):
        await account(kernel)
    await kernel.update("account", id_, {"name": "B"}, context=of())
    assert await kernel.delete("account", id_, context=of())


@pytest.mark.parametrize("way", ["create", "batch"])
async def test_a_repeated_request_gets_its_answer_when_there_is_no_room(
    kernel: Kernel, way: str
) -> None:
    await register(kernel, records=1)
    keyed = msgspec.structs.replace(of(), idempotency_key="k")

    async def ask() -> Any:
        if way == "batch":
            return (await kernel.batch(batch(1), context=keyed)).results
        return await kernel.create("account", {"name": "A"}, context=keyed)

    made = await ask()
    with pytest.raises(QuotaExceeded):
        await account(kernel)
    assert await ask() == made


async def test_a_full_tenant_does_not_concern_the_others(kernel: Kernel) -> None:
    await register(kernel, records=0)
    await register(kernel, "beta")
    with pytest.raises(QuotaExceeded):
        await account(kernel)
    for _ in range(3):
        await account(kernel, "beta")
    await change(kernel, records=1)
    await account(kernel)


# --- requests ----------------------------------------------------------------------------------


async def test_a_tenant_asks_no_more_often_than_its_quota(
    kernel: Kernel, clock: MovedClock
) -> None:
    await register(kernel, requests_per_day=3)
    await register(kernel, "beta")
    for _ in range(3):
        await kernel.find("account", context=of())
    with pytest.raises(QuotaExceeded) as refused:
        await kernel.find("account", context=of())
    assert refused.value.details() == {"quota": "requests_per_day", "limit": 3}
    wait_ms = refused.value.retry_after_ms
    assert wait_ms is not None
    assert 28_000_000 < wait_ms <= 28_800_000
    for _ in range(9):
        await kernel.find("account", context=of("beta"))
    clock.moved_s += wait_ms / 1000
    await kernel.find("account", context=of())
    await change(kernel)
    for _ in range(9):
        await kernel.find("account", context=of())


async def test_nobody_uses_up_what_a_tenant_has(kernel: Kernel) -> None:
    """Whoever tries passwords is nobody yet."""
    await register(kernel, requests_per_day=1)
    nobody = by(Actor(id="nobody", tenant=TenantId("acme")))
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await kernel.identity.handle_sign_in(SignInRequest("ann", "a guess"), nobody)
    await kernel.find("account", context=of())
    assert requests_in(await usage(kernel)) == 1


def requests_in(told: dict[str, Any]) -> int:
    """Of both days: it may be midnight."""
    return told["requests"]["today"] + told["requests"]["yesterday"]


# --- usage -------------------------------------------------------------------------------------


async def test_usage_tells_records_bytes_and_requests(kernel: Kernel) -> None:
    await register(kernel, records=9)
    await register(kernel, "beta")
    for number in range(3):
        await account(kernel, name=f"name {number}")
    await kernel.create("contact", {"name": "B"}, context=of())
    await account(kernel, "beta")
    told = await usage(kernel)
    assert told["id"] == "acme"
    assert told["records"] == 4
    assert {name: used["records"] for name, used in told["objects"].items()} == {
        "account": 3,
        "contact": 1,
    }
    stored = await kernel.find("account", context=of())
    length = sum(len(json.dumps(record)) for record in stored.value)
    assert told["objects"]["account"]["bytes"] == pytest.approx(length, rel=0.5)
    assert told["bytes"] == sum(used["bytes"] for used in told["objects"].values())
    assert requests_in(told) == 4
    assert told["quotas"] == {"records": 9}


async def test_usage_is_told_to_operators_of_tenants_that_there_are(kernel: Kernel) -> None:
    await register(kernel)
    with pytest.raises(PermissionDenied):
        await kernel.tenancy.handle_usage(TenantUsageRequest("acme"), of())
    with pytest.raises(TenantUnknown):
        await usage(kernel, "nobody")
