from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from objectql.drivers.memory import MemoryDriver
from objectql.drivers.memory_session import MemorySession
from objectql.drivers.protocol import Driver, Isolation
from objectql.errors import (
    BatchTooLarge,
    IdempotencyMismatch,
    InvalidRequest,
    PermissionDenied,
    RecordNotFound,
    SourceCannotPrepare,
    WriteConflict,
)
from objectql.ids import DataSource, TenantId
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.wire.messages import BatchOperation, BatchReply, BatchRequest


def operation(object_: str, action: Any, id_: Any = None, **data: Any) -> BatchOperation:
    return BatchOperation(object_, action, id_, json.dumps(data).encode())


def record(reply: BatchReply, index: int) -> Any:
    return json.loads(reply.results[index].record or b"null")


async def test_later_operations_refer_to_earlier_ones(kernel: Kernel, driver: Driver) -> None:
    reply = await kernel.batch(
        BatchRequest(
            (
                operation("account", "create", name="A", balance=1),
                operation("contact", "create", name="C", account={"$ref": 0}),
                operation("account", "update", {"$ref": 0}, balance={"$inc": 4}),
                operation("account", "upsert", name="U", code="u"),
                operation("contact", "delete", {"$ref": 1}),
            )
        )
    )
    assert reply.state == "committed"
    assert [r.action for r in reply.results] == [
        "created", "created", "updated", "created", "deleted",
    ]  # fmt: skip
    assert record(reply, 1)["account"] == reply.results[0].id
    assert record(reply, 2)["balance"] == 5
    events = [event for _, event in await driver.outbox.pending(10)]
    assert len(events) == 5
    assert len({event.batch for event in events}) == 1


async def test_an_atomic_batch_fails_as_a_whole_and_names_the_operation(
    kernel: Kernel, driver: Driver
) -> None:
    request = BatchRequest(
        (operation("account", "create", name="A"), operation("account", "update", "gone", name="B"))
    )
    with pytest.raises(RecordNotFound) as caught:
        await kernel.batch(request)
    assert caught.value.issues[0].path == "operations.1"
    assert await kernel.count("account") == 0
    assert await driver.outbox.pending(10) == ()


async def test_a_batch_that_is_not_atomic_keeps_what_succeeded(kernel: Kernel) -> None:
    reply = await kernel.batch(
        BatchRequest(
            (
                operation("account", "create", name="A", code="c"),
                operation("account", "create", name="B", code="c"),
                operation("account", "create", name="C"),
            ),
            atomic=False,
        )
    )
    codes = [None if r.error is None else r.error.code for r in reply.results]
    assert codes == [None, "UNIQUE_VIOLATION", "NOT_ATTEMPTED"]
    assert await kernel.count("account") == 1


@pytest.mark.parametrize("reference", [0, 1, -1, "0", None, True])
async def test_a_reference_must_name_an_earlier_operation(kernel: Kernel, reference: Any) -> None:
    request = BatchRequest((operation("contact", "create", name="C", account={"$ref": reference}),))
    with pytest.raises(InvalidRequest) as caught:
        await kernel.batch(request)
    assert caught.value.issues[0].path == "operations.0.data.account"


async def test_a_key_makes_the_batch_happen_once(kernel: Kernel, ask: Any) -> None:
    context = ask("sales", key="k")
    request = BatchRequest((operation("account", "create", name="A"),))
    first = await kernel.batch(request, context=context)
    assert await kernel.batch(request, context=context) == first
    other = BatchRequest((operation("account", "create", name="B"),))
    with pytest.raises(IdempotencyMismatch):
        await kernel.batch(other, context=context)
    assert await kernel.count("account") == 1


async def test_a_serialization_failure_starts_the_batch_anew(settings: KernelSettings) -> None:
    class Clashing(MemoryDriver):
        clashes = 2

        @asynccontextmanager
        async def begin(
            self,
            *,
            isolation: Isolation = "read_committed",
            deadline_ms: int | None = None,
            tenant: TenantId | None = None,
        ) -> AsyncGenerator[MemorySession, None]:
            async with super().begin(
                isolation=isolation, deadline_ms=deadline_ms, tenant=tenant
            ) as session:
                yield session
                if self.clashes:
                    self.clashes -= 1
                    raise WriteConflict

    driver = Clashing()
    app = {"name": "x", "objects": {"note": {"fields": {"t": {"type": "text"}}}}}
    kernel = Kernel([app, driver], settings=settings)
    await kernel.start()
    request = BatchRequest((operation("note", "create", t="x"),), isolation="serializable")
    assert (await kernel.batch(request)).results[0].action == "created"
    assert (await kernel.count("note"), driver.clashes) == (1, 0)
    await kernel.stop()


async def test_several_data_sources_and_too_many_operations_are_refused() -> None:
    app = {
        "name": "x",
        "objects": {
            "near": {"fields": {"t": {"type": "text"}}},
            "far": {"datasource": "east", "fields": {"t": {"type": "text"}}},
        },
    }
    drivers = [MemoryDriver(), MemoryDriver(name=DataSource("east"))]
    kernel = Kernel([app, *drivers], settings=KernelSettings(max_batch_operations=2))
    await kernel.start()
    both = BatchRequest((operation("near", "create"), operation("far", "create")))
    with pytest.raises(SourceCannotPrepare, match="default"):
        await kernel.batch(both)
    with pytest.raises(BatchTooLarge):
        await kernel.batch(BatchRequest((operation("near", "create"),) * 3))
    assert (await kernel.batch(BatchRequest(()))).results == ()
    await kernel.stop()


async def test_permissions_hold_for_every_operation(kernel: Kernel, ask: Any) -> None:
    request = BatchRequest(
        (operation("account", "create", name="A"), operation("contact", "create", name="C"))
    )
    with pytest.raises(PermissionDenied):
        await kernel.batch(request, context=ask("sales"))
    assert await kernel.count("account") == 0
    made = await kernel.create("account", {"name": "A"})
    for role, step in [
        ("sales", operation("account", "delete", made["id"])),
        ("viewer", operation("account", "update", made["id"], name="B")),
        ("viewer", operation("account", "upsert", made["id"], name="B")),
    ]:
        with pytest.raises(PermissionDenied):
            await kernel.batch(BatchRequest((step,)), context=ask(role))
    assert await kernel.get("account", made["id"]) == made
