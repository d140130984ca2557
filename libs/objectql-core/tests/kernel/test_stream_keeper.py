"""A stream that was lost comes back as it was, from what the outboxes remember."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Never

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.bus.memory import MemoryNetwork, MemoryStream
from objectql.clock import SystemClock
from objectql.context import DEFAULT_TENANT
from objectql.drivers.memory import MemoryDriver
from objectql.drivers.protocol import RowWrite, WriteScope
from objectql.errors import Unavailable
from objectql.events import ChangeEvent
from objectql.ids import FieldName, ObjectName, uuid7
from objectql.kernel.relay import Relay
from objectql.kernel.stream_keeper import KeeperLimits, StreamKeeper
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
LIMITS = KeeperLimits(kept=1000, gap=5, window=3)


class World:
    """Some data sources whose relays publish to one stream."""

    def __init__(self, sources: int, limits: KeeperLimits = LIMITS) -> None:
        self.stream = MemoryStream(MemoryNetwork())
        self.drivers = [MemoryDriver() for _ in range(sources)]
        self.relays = [
            Relay(str(n), driver.outbox, driver.leases, self.stream.publish, holder="one")
            for n, driver in enumerate(self.drivers)
        ]
        self.keeper = StreamKeeper(
            self.stream,
            lambda: [driver.outbox for driver in self.drivers],
            lambda: True,
            clock=SystemClock(),
            limits=limits,
        )

    async def open(self) -> World:
        for driver in self.drivers:
            await driver.connect()
            await driver.apply_schema(await driver.plan_schema([NOTE]))
        return self

    async def write(self, source: int, count: int = 1) -> None:
        for _ in range(count):
            id_ = uuid7()
            values = {"id": id_, "version": 1, "text": "0", "created_at": AT, "updated_at": AT}
            values |= {"created_by": "tester", "updated_by": "tester"}
            write = RowWrite(
                kind="insert", object=NOTE, id=id_, event_id=uuid7(), at=AT, values=values
            )
            await self.drivers[source].write([write], SCOPE)

    async def publish(self) -> None:
        for relay, driver in zip(self.relays, self.drivers, strict=True):
            assert await relay._lease.keep()  # pyright: ignore[reportPrivateUsage]
            await relay.drain(driver.outbox)

    async def tend(self) -> None:
        """Let the keeper look twice, as it needs to."""
        for _ in range(2):
            await self.keeper.tend()

    async def events(self, after: int, epoch: str) -> dict[int, str]:
        """The ids of events by their positions."""
        state = await self.stream.state()
        found: dict[int, str] = {}
        reading = self.stream.read(after, epoch=epoch, subject="oql.v1.evt.>", until=state.last)
        async for entries in reading:
            found |= {e.position: decode(ChangeEvent, e.body).id for e in entries if e.body}
        return found


@given(
    turns=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 4)), max_size=12),
    lost=st.sets(st.integers(0, 11)),
)
def test_every_event_keeps_its_position_whenever_the_stream_is_lost(
    turns: Sequence[tuple[int, int]], lost: set[int]
) -> None:
    async def run() -> None:
        world = await World(2).open()
        known: dict[int, str] = {}
        epoch = (await world.stream.state()).epoch
        for number, (source, count) in enumerate(turns):
            await world.write(source, count)
            await world.publish()
            now = await world.events(0, epoch)
            assert now.items() >= known.items()
            assert len(now) == len(known) + count
            known = now
            if number in lost:
                world.stream.vanish()
                await world.tend()
                assert (await world.stream.state()).epoch == epoch
                assert await world.events(min(known) - 1, epoch) == known

    asyncio.run(run())


async def test_what_nobody_wrote_down_is_published_anew_where_nothing_was() -> None:
    world = await World(1).open()
    await world.write(0, 3)
    await world.publish()
    epoch = (await world.stream.state()).epoch
    before = await world.events(0, epoch)
    await world.write(0)
    [(_, event)] = await world.drivers[0].outbox.pending(10)
    world.stream.vanish()  # with the event in it, whose relay died before it could write it down
    await world.tend()
    await world.publish()
    after = await world.events(min(before) - 1, epoch)
    place = next(position for position, id_ in after.items() if id_ == event.id)
    assert place > max(before) + LIMITS.gap
    assert after == before | {place: event.id}


async def test_a_keeper_goes_on_where_another_one_died() -> None:
    world = await World(1).open()
    await world.write(0, 10)
    await world.publish()
    epoch = (await world.stream.state()).epoch
    before = await world.events(0, epoch)
    world.stream.vanish()
    fill, calls = world.stream.fill, 0

    async def fill_twice(start: int, messages: Sequence[StreamMessage | None]) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Unavailable(what="the event stream")
        await fill(start, messages)

    world.stream.fill = fill_twice
    with pytest.raises(Unavailable):
        await world.tend()
    assert (await world.stream.condition()).is_ == "filling"
    await world.tend()
    assert await world.events(0, epoch) == before


@pytest.mark.parametrize("is_begun", [False, True], ids=["missing", "half filled"])
async def test_an_outbox_that_cannot_be_read_keeps_nobodys_events_for_long(
    is_begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await World(2, KeeperLimits(patience_s=0.01)).open()
    for source in (0, 1):
        await world.write(source)
    await world.publish()
    epoch = (await world.stream.state()).epoch
    world.stream.vanish()
    if is_begun:
        await world.stream.begin(epoch, 1)

    async def silent(_limit: int) -> Never:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(world.drivers[1].outbox, "published", silent)
    if not is_begun:
        await world.keeper.tend()  # it looks twice
    for _ in range(2):
        with pytest.raises(Unavailable):
            await world.tend()
    await world.keeper.tend()
    after = await world.stream.state()
    assert after.epoch != epoch, "readers must hear that events are missing"
    await world.write(0)
    await world.publish()
    assert len(await world.events(after.last, after.epoch)) == 1


async def test_only_the_last_events_come_back_and_never_with_a_hole_between_sources() -> None:
    world = await World(2, KeeperLimits(kept=4, gap=1, window=3)).open()
    for source in (0, 1, 1, 0, 0, 1, 0, 0, 0):
        await world.write(source)
        await world.publish()
    epoch = (await world.stream.state()).epoch
    before = await world.events(0, epoch)
    world.stream.vanish()
    await world.tend()
    state = await world.stream.state()
    after = await world.events(state.first - 1, epoch)
    assert after == {at: id_ for at, id_ in before.items() if at >= state.first}
    assert len(after) == 4


async def test_what_is_written_down_while_the_stream_goes_comes_back_too() -> None:
    world = await World(1).open()
    await world.write(0)
    epoch = (await world.stream.state()).epoch
    [(position, event)] = await world.drivers[0].outbox.pending(10)
    world.stream.vanish()
    await world.keeper.tend()
    await world.drivers[0].outbox.mark_published(epoch, {position: 7})
    await world.keeper.tend()
    assert await world.events(6, epoch) == {7: event.id}


async def test_an_empty_stream_is_made_where_nothing_is_known() -> None:
    world = await World(1).open()
    world.stream.vanish()
    await world.tend()
    state = await world.stream.state()
    assert (state.first, state.last) == (1, 0)


async def test_relay_writes_down_what_was_stored_and_sends_the_rest_again() -> None:
    world = await World(1).open()
    await world.write(0, 4)
    outbox = world.drivers[0].outbox
    sent: list[int] = []

    async def publish(messages: Sequence[StreamMessage]) -> Stored:
        sent.append(len(messages))
        epoch, positions = await world.stream.publish(messages)
        return Stored(epoch, [None, *positions[1:]] if len(sent) == 1 else positions)

    relay = Relay("0", outbox, world.drivers[0].leases, publish, holder="one")
    assert await relay._lease.keep()  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(Unavailable):
        await relay.drain(outbox)
    assert await relay.drain(outbox) == 1
    assert sent == [4, 1]
    assert sorted(entry.at for entry in await outbox.published(10)) == [1, 2, 3, 4]
