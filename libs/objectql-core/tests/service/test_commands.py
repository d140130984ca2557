"""Commands to single processes, over the bus in memory."""

from __future__ import annotations

import asyncio
import logging

import pytest

from objectql.bus.memory import MemoryBus
from objectql.bus.port import Envelope
from objectql.clock import SystemClock
from objectql.context import Actor
from objectql.service.commands import DRAIN, MEANT_FOR_MS, Commands, tell
from objectql.wire.subjects import command
from objectql.wire.trust import ContextKeys

KEYS = ContextKeys(["k" * 32])
OPERATOR = Actor(id="op", roles=("system",))


class Clock(SystemClock):
    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms


class Member:
    """A process that counts how often it was told to drain, and keeps what it heard."""

    def __init__(self, keys: ContextKeys | None = KEYS) -> None:
        self.clock = Clock()
        self.bus = MemoryBus()
        self.drained = 0
        self.heard: list[Envelope] = []
        self._commands = Commands({DRAIN: self._drain}, self.clock, keys)

    def _drain(self) -> None:
        self.drained += 1

    async def hear(self, envelope: Envelope) -> None:
        self.heard.append(envelope)
        await self._commands.hear(envelope)

    async def is_told(
        self,
        verb: str = DRAIN,
        *,
        instance: str = "kernel-1",
        keys: ContextKeys | None = KEYS,
    ) -> None:
        unsubscribe = await self.bus.subscribe(command("kernel", "kernel-1", "*"), self.hear)
        await tell(
            self.bus,
            verb,
            service="kernel",
            instance=instance,
            actor=OPERATOR,
            clock=self.clock,
            keys=keys,
        )
        for _ in range(3):  # turns of the loop until it has been heard
            await asyncio.sleep(0)
        await unsubscribe()


async def test_who_is_told_does_it_each_time(caplog: pytest.LogCaptureFixture) -> None:
    member = Member()
    with caplog.at_level(logging.INFO):
        await member.is_told()
        await member.is_told()
    assert member.drained == 2
    assert {getattr(record, "actor", None) for record in caplog.records} == {"op"}


async def test_a_command_to_another_is_not_heard() -> None:
    member = Member()
    await member.is_told(instance="kernel-2")
    assert (member.drained, member.heard) == (0, [])


@pytest.mark.parametrize("keys", [None, ContextKeys(["x" * 32])])
async def test_a_command_that_no_key_of_ours_has_signed_changes_nothing(
    keys: ContextKeys | None,
) -> None:
    member = Member()
    await member.is_told(keys=keys)
    assert (member.drained, len(member.heard)) == (0, 1)


async def test_where_there_are_no_keys_nobody_needs_one() -> None:
    member = Member(keys=None)
    await member.is_told(keys=None)
    assert member.drained == 1


async def test_a_verb_that_is_not_known_changes_nothing() -> None:
    member = Member()
    await member.is_told("explode")
    assert (member.drained, len(member.heard)) == (0, 1)


async def test_a_command_that_was_recorded_means_nothing_later_or_to_others() -> None:
    member = Member()
    await member.is_told()
    (recorded,) = member.heard
    member.clock.ms += MEANT_FOR_MS
    await member.hear(recorded)
    assert member.drained == 1
    member.clock.ms -= MEANT_FOR_MS
    other = Envelope(command("kernel", "kernel-2", DRAIN), recorded.body, recorded.headers)
    await member.hear(other)
    assert member.drained == 1
