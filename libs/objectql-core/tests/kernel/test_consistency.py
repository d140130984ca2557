from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context, ReadPolicy, system_actor
from objectql.drivers.memory import MemoryDriver
from objectql.drivers.protocol import Capabilities, Freshness
from objectql.errors import InvalidRequest
from objectql.ids import DataSource
from objectql.kernel.consistency import Consistency
from objectql.kernel.engine import Engine
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.wire.messages import (
    BatchOperation,
    BatchRequest,
    BulkRequest,
    BulkRow,
    CreateRequest,
    DeleteRequest,
    UpdateRequest,
    WhereWriteRequest,
)

ASK = Context(actor=Actor(id="ann"), deadline_ms=0, request_id="r")


class WithPosition(MemoryDriver):
    """A source with replicas, as far as its capabilities and position tell."""

    at: int | None = 0x16B

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(replicas=True)

    async def position(self) -> int | None:
        return self.at


def make(*drivers: MemoryDriver) -> Consistency:
    engine = Engine({driver.name: driver for driver in drivers}, KernelSettings(), SystemClock())
    return Consistency(engine)


async def test_a_token_names_each_source_and_where_it_stands() -> None:
    consistency = make(WithPosition(), MemoryDriver(name=DataSource("other")))
    assert await consistency.token([DataSource("default")]) == "1.default:16B"
    assert await consistency.token([DataSource("other")]) == "1.other:p"
    assert await consistency.token_of_all() == "1.default:16B;other:p"


async def test_a_position_that_cannot_be_had_leads_to_the_primary() -> None:
    driver = WithPosition()
    driver.at = None
    assert await make(driver).token([DataSource("default")]) == "1.default:p"


@pytest.mark.parametrize(
    ("policy", "max_lag_ms", "token", "expected"),
    [
        (None, None, None, Freshness(5.0)),
        (None, None, "1.default:16B", Freshness(5.0, 0x16B)),
        (None, None, "1.other:p", Freshness(5.0)),
        (None, None, "1.default:p", None),
        (ReadPolicy.PRIMARY, None, "1.default:16B", None),
        (ReadPolicy.BOUNDED, 250, None, Freshness(0.25)),
        (ReadPolicy.ANY, None, "1.default:16B", Freshness(None, 0x16B, 0.1)),
        (ReadPolicy.ANY, None, "1.default:p", None),
    ],
)
def test_policy_and_token_say_how_far_behind_an_answer_may_be(
    policy: ReadPolicy | None,
    max_lag_ms: int | None,
    token: str | None,
    expected: Freshness | None,
) -> None:
    driver = WithPosition()
    context = msgspec.structs.replace(
        ASK, read_policy=policy, max_lag_ms=max_lag_ms, consistency_token=token
    )
    assert make(driver).freshness(context, driver) == expected


def test_the_system_sees_its_own_writes_without_a_token() -> None:
    driver = WithPosition()
    context = msgspec.structs.replace(ASK, actor=system_actor())
    assert make(driver).freshness(context, driver) is None


def test_what_is_no_token_is_refused() -> None:
    driver = WithPosition()
    context = msgspec.structs.replace(ASK, consistency_token="0/16B")
    with pytest.raises(InvalidRequest):
        make(driver).freshness(context, driver)


async def test_every_write_answers_with_a_token(
    kernel: Kernel, ask: Callable[..., Context]
) -> None:
    context = ask("admin")
    created = await kernel.handle_create(CreateRequest("account", b'{"name":"a"}'), context)
    row = BulkRow(b'{"name":"b"}')
    step = BatchOperation("account", "create", data=b'{"name":"c"}')
    replies = [
        created,
        await kernel.handle_update(UpdateRequest("account", created.id, b'{"name":"d"}'), context),
        await kernel.handle_delete(DeleteRequest("account", created.id), context),
        await kernel.handle_bulk(BulkRequest("account", "create", (row,)), context),
        await kernel.handle_batch(BatchRequest((step,)), context),
        await kernel.handle_write_where(WhereWriteRequest("account", "delete"), context),
    ]
    assert {reply.consistency_token for reply in replies} == {"1.default:p"}
