"""A bus inside one process, with the semantics of the real one and switches for its faults.

Several `MemoryBus` on one `MemoryNetwork` are the connections of several processes to one server.
Time comes from the clock, so that tests decide when a delay or a timeout is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from objectql.bus.port import (
    Envelope,
    Handler,
    Listener,
    PositionLost,
    StreamEntry,
    StreamState,
    Unsubscribe,
)
from objectql.clock import Clock, SystemClock
from objectql.errors import DeadlineExceeded, OutcomeUnknown, PayloadTooLarge, Unavailable
from objectql.ids import uuid7
from objectql.wire.stream import Stored, StreamCondition, StreamMessage
from objectql.wire.subjects import HOLE

MAX_PAYLOAD_BYTES = 1024 * 1024


def matches(pattern: str, subject: str) -> bool:
    """Whether `subject` fits `pattern`, where `*` is one token and a last `>` one or more."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(given) <= len(wanted):
            return False
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(
        w in ("*", g) for w, g in zip(wanted, given, strict=True)
    )


@dataclass
class Faults:
    """What goes wrong between two ends; `drop` and `repeat` are asked for every message."""

    drop: Callable[[Envelope], bool] = field(default=lambda _: False)
    repeat: Callable[[Envelope], bool] = field(default=lambda _: False)
    delay_s: float = 0.0


@dataclass(eq=False)
class _Interest:
    owner: MemoryBus
    pattern: str
    queue: str | None
    deliver: Callable[[Envelope, _Caller | None], None]


@dataclass(eq=False)
class _Caller:
    """Who waits for an answer, and what ends when it does not wait any more."""

    answer: Callable[[Envelope], None]
    stoppable: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    def leave(self) -> None:
        for task in self.stoppable:
            task.cancel()


class MemoryNetwork:
    """The server: knows who listens to what."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self.faults = Faults()
        self._interests: list[_Interest] = []
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, interest: _Interest) -> None:
        self._interests.append(interest)

    def remove(self, interest: _Interest) -> None:
        if interest in self._interests:
            self._interests.remove(interest)

    def route(self, subject: str) -> list[_Interest]:
        """Every plain listener, and one member of each queue group in turn."""
        found = [
            i
            for i in self._interests
            if i.owner.is_connected and (i.pattern == subject or matches(i.pattern, subject))
        ]
        groups: dict[str, list[_Interest]] = {}
        for interest in found:
            if interest.queue is not None:
                groups.setdefault(interest.queue, []).append(interest)
        self._turn += 1
        chosen = [members[self._turn % len(members)] for members in groups.values()]
        return [i for i in found if i.queue is None] + chosen

    def carry(self, envelope: Envelope, arrive: Callable[[], None]) -> None:
        """Let `arrive` happen once, late, twice or never, as the faults say."""
        faults = self.faults
        if faults.drop(envelope):
            return
        times = 2 if faults.repeat(envelope) else 1
        if faults.delay_s <= 0:
            for _ in range(times):
                arrive()
            return

        async def later() -> None:
            await self.clock.sleep(faults.delay_s)
            for _ in range(times):
                arrive()

        self.start(later())

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class MemoryBus:
    """One connection to a `MemoryNetwork` (its own one by default)."""

    def __init__(self, network: MemoryNetwork | None = None) -> None:
        self.network = network or MemoryNetwork()
        self._is_connected = True
        self._is_closed = False
        self._pending: set[asyncio.Future[Envelope]] = set()
        self._interests: list[_Interest] = []
        self._pumps: dict[_Interest, asyncio.Task[None]] = {}

    # --- fault switches ------------------------------------------------------------------

    def disconnect(self) -> None:
        """Cut this connection: what is in flight is lost, nothing is buffered."""
        self._is_connected = False
        for future in self._pending:
            if not future.done():
                future.set_exception(OutcomeUnknown())

    def reconnect(self) -> None:
        """Undo `disconnect`; subscriptions are as before."""
        self._is_connected = not self._is_closed

    # --- the port ------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return self._is_connected

    async def request(
        self, subject: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float
    ) -> Envelope:
        envelope = self._outgoing(subject, body, headers)
        chosen = self.network.route(subject)
        if not chosen:
            raise Unavailable(what=subject)
        future: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()

        def answer(reply: Envelope) -> None:
            if self._is_connected and not future.done():
                future.set_result(reply)

        caller = _Caller(answer)
        for interest in chosen:
            self._send(interest, envelope, caller)
        timer = asyncio.ensure_future(self.network.clock.sleep(timeout_s))
        self._pending.add(future)
        try:
            await asyncio.wait({future, timer}, return_when=asyncio.FIRST_COMPLETED)
            if not future.done():
                raise DeadlineExceeded
            return future.result()
        finally:
            if not future.done():
                caller.leave()
            self._pending.discard(future)
            timer.cancel()
            future.cancel()

    async def publish(
        self, subject: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        envelope = self._outgoing(subject, body, headers or {})
        for interest in self.network.route(subject):
            self._send(interest, envelope, None)

    async def subscribe(self, subject: str, listener: Listener) -> Unsubscribe:
        queue: asyncio.Queue[Envelope] = asyncio.Queue()

        async def pump() -> None:
            while True:
                await listener(await queue.get())

        interest = _Interest(self, subject, None, lambda envelope, _: queue.put_nowait(envelope))
        self._add(interest)
        self._pumps[interest] = asyncio.ensure_future(pump())

        async def unsubscribe() -> None:
            self._drop(interest)

        return unsubscribe

    async def serve(
        self,
        service: str,
        queue: str,
        handlers: Mapping[str, Handler],
        *,
        version: str,
        cancellable: Collection[str] = (),
    ) -> Unsubscribe:
        del service, version  # shown by `$SRV.INFO` on the real bus
        running: set[asyncio.Task[None]] = set()

        def deliver_to(handler: Handler) -> Callable[[Envelope, _Caller | None], None]:
            async def run(envelope: Envelope, caller: _Caller | None) -> None:
                reply = await handler(envelope)
                if caller is not None and self._is_connected:
                    self.network.carry(reply, lambda: caller.answer(reply))

            def deliver(envelope: Envelope, caller: _Caller | None) -> None:
                task = asyncio.ensure_future(run(envelope, caller))
                running.add(task)
                task.add_done_callback(running.discard)
                if caller is not None and envelope.subject in cancellable:
                    caller.stoppable.append(task)

            return deliver

        interests = [
            _Interest(self, subject, queue, deliver_to(handler))
            for subject, handler in handlers.items()
        ]
        for interest in interests:
            self._add(interest)

        async def unsubscribe() -> None:
            for interest in interests:
                self._drop(interest)
            while running:
                await asyncio.wait(running)

        return unsubscribe

    async def close(self) -> None:
        self.disconnect()
        self._is_closed = True
        for interest in list(self._interests):
            self._drop(interest)

    # --- inside --------------------------------------------------------------------------

    def _outgoing(self, subject: str, body: bytes, headers: Mapping[str, str]) -> Envelope:
        if not self._is_connected:
            raise Unavailable(what="the bus")
        if len(body) > MAX_PAYLOAD_BYTES:
            raise PayloadTooLarge(limit_bytes=MAX_PAYLOAD_BYTES)
        return Envelope(subject=subject, body=body, headers=dict(headers))

    def _send(self, interest: _Interest, envelope: Envelope, caller: _Caller | None) -> None:
        def arrive() -> None:
            if interest.owner.is_connected:
                interest.deliver(envelope, caller)

        self.network.carry(envelope, arrive)

    def _add(self, interest: _Interest) -> None:
        self._interests.append(interest)
        self.network.add(interest)

    def _drop(self, interest: _Interest) -> None:
        if interest in self._interests:
            self._interests.remove(interest)
        self.network.remove(interest)
        pump = self._pumps.pop(interest, None)
        if pump is not None:
            pump.cancel()


class MemoryStream:
    """A durable stream as a list; `is_down` refuses as a lost server does."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self._known: dict[str, int] = {}
        self._grown = asyncio.Event()
        self._epoch = uuid7()
        self._lost = 0
        self._condition: Literal["open", "filling", "missing"] = "open"
        self.messages: list[Envelope] = []
        self.is_down = False

    def lose(self) -> None:
        """Be another, empty stream from now on."""
        self._epoch = uuid7()
        self._known.clear()
        self.messages.clear()
        self._lost = 0
        self._wake()

    def vanish(self) -> None:
        """Be no stream at all until `begin`."""
        self.lose()
        self._condition = "missing"

    def expire(self, count: int) -> None:
        """Drop the first `count` messages."""
        self._lost += count
        del self.messages[:count]

    async def ensure(self) -> None:
        if self.is_down:
            raise Unavailable(what="the event stream")

    async def publish(self, messages: Sequence[StreamMessage]) -> Stored:
        await self._check_open()
        return Stored(self._epoch, [self._store(message) for message in messages])

    async def condition(self) -> StreamCondition:
        await self.ensure()
        return StreamCondition(self._condition, self._epoch, self._last)

    async def begin(self, epoch: str, first: int) -> None:
        await self.ensure()
        self.lose()
        self._epoch, self._lost, self._condition = epoch, first - 1, "filling"

    async def fill(self, start: int, messages: Sequence[StreamMessage | None]) -> None:
        await self.ensure()
        if start != self._last + 1:
            raise Unavailable(what="the event stream")
        for number, message in enumerate(messages):
            self._store(message or StreamMessage(HOLE, b"", f"hole {start + number}"))

    async def open(self) -> None:
        await self.ensure()
        self._condition = "open"
        self._wake()

    async def state(self) -> StreamState:
        await self._check_open()
        return StreamState(self._epoch, self._lost + 1, self._last)

    @property
    def _last(self) -> int:
        return self._lost + len(self.messages)

    async def _check_open(self) -> None:
        await self.ensure()
        if self._condition != "open":
            raise Unavailable(what="the event stream")

    def _store(self, message: StreamMessage) -> int:
        known = self._known.get(message.id)
        if known is not None:
            return known
        envelope = Envelope(subject=message.subject, body=message.body)
        self.messages.append(envelope)
        self._known[message.id] = self._last
        self._wake()
        for interest in self._network.route(message.subject):
            interest.deliver(envelope, None)
        return self._last

    async def read(
        self, after: int, *, epoch: str, subject: str, until: int | None = None
    ) -> AsyncGenerator[Sequence[StreamEntry]]:
        while until is None or after < until:
            if self._condition != "open":
                await self._grown.wait()
                continue
            held = self._last
            if epoch != self._epoch or not self._lost <= after <= held:
                raise PositionLost
            grown = self._grown
            found = [
                StreamEntry(position, message.body)
                for position, message in enumerate(self.messages, self._lost + 1)
                if after < position and (until is None or position <= until)
                if matches(subject, message.subject)
            ]
            after = held
            if found:
                yield found
            elif until is None or after < until:
                await grown.wait()

    def _wake(self) -> None:
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()
