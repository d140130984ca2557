"""The relay delivers every committed event, in order per record, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql import failpoints
from objectql.clock import SystemClock
from objectql.context import DEFAULT_TENANT
from objectql.drivers.memory import MemoryDriver
from objectql.drivers.protocol import Driver, RowWrite, WriteScope
from objectql.errors import InvalidRequest
from objectql.events import ChangeEvent
from objectql.ids import FieldName, ObjectName, uuid7
from objectql.kernel.relay import Entry, Relay, RelayLimits, windows
from objectql.metadata.model import FieldDef, ObjectDef, system_fields
from objectql.wire.codec import decode
from objectql.wire.stream import Stored, StreamMessage

NOTE = ObjectDef(
    name=ObjectName("note"),
    fields={
        field.name: field
        for field in (*system_fields(), FieldDef(name=FieldName("text"), type="text"))
    },
)
AT = "2026-01-01T00:00:00.000Z"
SCOPE = WriteScope(tenant=DEFAULT_TENANT, actor="tester")
FAST = RelayLimits(idle_s=0.05, lease_ttl_s=0.2, retry_s=0.01, window=8, batch=16)


class Stream:
    """A stream in memory that drops known ids, and refuses while `is_down`."""

    def __init__(self) -> None:
        self.stored: list[ChangeEvent] = []
        self.ids: set[str] = set()
        self.is_down = False
        self.refuse_next = 0
        self.grew = asyncio.Event()

    async def publish(self, messages: Sequence[StreamMessage]) -> Stored:
        positions: list[int | None] = []
        for message in messages:  # some may be stored and others not
            if self.is_down or self.refuse_next > 0:
                self.refuse_next -= 1
                positions.append(None)
            else:
                positions.append(self._store(message))
        return Stored("s", positions)

    def _store(self, message: StreamMessage) -> int:
        event = decode(ChangeEvent, message.body)
        assert message.subject == f"oql.v1.evt.data.{event.tenant}.{event.object}.{event.kind}"
        if message.id not in self.ids:
            self.ids.add(message.id)
            self.stored.append(event)
            self.grew.set()
        return [stored.id for stored in self.stored].index(event.id) + 1

    async def holds(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.stored) < count:
                self.grew.clear()
                await self.grew.wait()


async def open_source() -> MemoryDriver:
    driver = MemoryDriver()
    await driver.connect()
    await driver.apply_schema(await driver.plan_schema([NOTE]))
    return driver


def insert(id_: str) -> RowWrite:
    values = {
        "id": id_,
        "version": 1,
        "text": "0",
        "created_at": AT,
        "updated_at": AT,
        "created_by": "tester",
        "updated_by": "tester",
    }
    return RowWrite(kind="insert", object=NOTE, id=id_, event_id=uuid7(), at=AT, values=values)


def update(id_: str, text: str) -> RowWrite:
    return RowWrite(
        kind="update", object=NOTE, id=id_, event_id=uuid7(), at=AT, values={"text": text}
    )


def relay_of(driver: Driver, stream: Stream, holder: str) -> Relay:
    return Relay(
        "default", driver.outbox, driver.leases, stream.publish, holder=holder, limits=FAST
    )


async def test_events_arrive_once_and_in_order_per_record() -> None:
    driver, stream = await open_source(), Stream()
    relay = relay_of(driver, stream, "one")
    running = asyncio.create_task(relay.run())
    for id_ in "abc":
        await driver.write([insert(id_)], SCOPE)
    for number in range(1, 20):
        for id_ in "abc":
            await driver.write([update(id_, str(number))], SCOPE)
        relay.nudge()
    await stream.holds(60)
    async with asyncio.timeout(10):
        while await driver.outbox.pending(1):
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])

    versions: defaultdict[str, list[int]] = defaultdict(list)
    for event in stream.stored:
        versions[event.record_id].append(event.version)
    assert dict(versions) == {id_: list(range(1, 21)) for id_ in "abc"}


async def test_an_outage_of_the_stream_loses_nothing_and_keeps_the_order() -> None:
    driver, stream = await open_source(), Stream()
    relay = relay_of(driver, stream, "one")
    running = asyncio.create_task(relay.run())
    await driver.write([insert("a")], SCOPE)
    relay.nudge()
    await stream.holds(1)
    stream.is_down = True
    for number in range(1, 6):
        await driver.write([update("a", str(number))], SCOPE)
    relay.nudge()
    stream.is_down = False
    stream.refuse_next = 2
    await stream.holds(6)
    running.cancel()
    await asyncio.wait([running])

    assert [event.version for event in stream.stored] == [1, 2, 3, 4, 5, 6]


async def test_only_the_lease_holder_publishes_and_another_takes_over() -> None:
    driver, stream = await open_source(), Stream()
    first, second = relay_of(driver, stream, "one"), relay_of(driver, stream, "two")
    leading = asyncio.create_task(first.run())
    await driver.write([insert("a")], SCOPE)
    first.nudge()
    await stream.holds(1)
    waiting = asyncio.create_task(second.run())
    assert first.is_leading
    assert not second.is_leading

    leading.cancel()
    await asyncio.wait([leading])
    await driver.write([insert("b")], SCOPE)
    second.nudge()
    await stream.holds(2)
    assert second.is_leading
    waiting.cancel()
    await asyncio.wait([waiting])


class Paused(SystemClock):
    """Notes for how long it is slept, and wakes its sleepers when told."""

    def __init__(self) -> None:
        self.asked_s: asyncio.Queue[float] = asyncio.Queue()
        self.go_on = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked_s.put_nowait(seconds)
        await self.go_on.wait()


async def test_who_reaches_the_store_and_not_the_stream_leaves_the_relay_to_who_does() -> None:
    driver, stream, nowhere = await open_source(), Stream(), Stream()
    nowhere.is_down = True
    cut_off, well = relay_of(driver, nowhere, "one"), relay_of(driver, stream, "two")
    running = [asyncio.create_task(cut_off.run())]
    async with asyncio.timeout(10):
        while not cut_off.is_leading:
            await asyncio.sleep(0)
    running.append(asyncio.create_task(well.run()))
    for number, id_ in enumerate("abc"):
        await driver.write([insert(id_)], SCOPE)
        await stream.holds(number + 1)
    assert well.is_leading
    assert not cut_off.is_leading
    for task in running:
        task.cancel()
    await asyncio.wait(running)


async def test_events_gather_while_the_relay_is_busy_and_wait_for_nobody_after_a_pause() -> None:
    driver, stream, clock = await open_source(), Stream(), Paused()
    batches: list[int] = []

    async def publish(messages: Sequence[StreamMessage]) -> Stored:
        stored = await stream.publish(messages)
        if len(stream.stored) <= 2:  # something is committed while two batches are on their way
            await driver.write([insert("bc"[len(stream.stored) - 1])], SCOPE)
        return stored

    relay = Relay(
        "default",
        driver.outbox,
        driver.leases,
        publish,
        holder="one",
        clock=clock,
        limits=RelayLimits(linger_s=7.0),
        on_batch=lambda events: batches.append(len(events)),
    )
    running = asyncio.create_task(relay.run())
    await driver.write([insert("a")], SCOPE)
    relay.nudge()
    async with asyncio.timeout(10):
        assert await clock.asked_s.get() == 7.0
    assert batches == [1, 1]
    for id_ in "defg":
        await driver.write([insert(id_)], SCOPE)
        relay.nudge()
    clock.go_on.set()
    await stream.holds(7)
    assert batches == [1, 1, 5]
    running.cancel()
    await asyncio.wait([running])


def event_of(record: str, version: int) -> ChangeEvent:
    return ChangeEvent(
        id=uuid7(),
        tenant=DEFAULT_TENANT,
        object=NOTE.name,
        record_id=record,
        kind="updated",
        version=version,
        at=AT,
        actor="tester",
    )


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.integers(1, 6))
def test_no_window_holds_a_record_twice_and_none_is_lost(records: list[str], size: int) -> None:
    entries: list[Entry] = [(n, event_of(record, n)) for n, record in enumerate(records)]
    found = list(windows(entries, size))
    assert [entry for window in found for entry in window] == entries
    for window in found:
        assert 0 < len(window) <= size
        ids = [event.record_id for _, event in window]
        assert len(ids) == len(set(ids))


def test_an_unknown_failpoint_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="before_publish"):
        failpoints.arm(["whenever"])
