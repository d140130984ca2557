"""Reading the JetStream stream in order, from a position on, through every outage.

A consumer of JetStream that asks for no acknowledgements lives as long as its connection, and a
message that gets lost on the way is gone for it. So the messages are counted; where one is
missing, where heartbeats stay away, and on every new connection another consumer begins behind the
last message that was given (what the clients of NATS call an ordered consumer).
"""

# pyright: reportUnknownMemberType=false
# nats-py leaves the parameters of its futures and options open.

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import nats.errors  # noqa: TID251 - home of nats
from nats.aio.client import Client  # noqa: TID251
from nats.aio.msg import Msg  # noqa: TID251
from nats.aio.subscription import Subscription  # noqa: TID251

from objectql.bus.port import PositionLost, StreamEntry, StreamState
from objectql.errors import Unavailable
from objectql.wire.stream import StreamCondition

log = logging.getLogger(__name__)

API_TIMEOUT_S: Final = 2.0
HEARTBEAT_S: Final = 1.0
_SILENCE_S: Final = 2.5 * HEARTBEAT_S
_BATCH: Final = 512
"""Messages that are given together at most, so that others get their turn."""

_PAUSE_S: Final = 0.2
"""Between tries while the stream is away."""

_STATUS: Final = "Status"
_CONTROL: Final = "100"


class _Answer(msgspec.Struct):
    """What the API of JetStream answers, as far as it matters here."""

    error: dict[str, Any] | None = None
    created: str = ""
    config: dict[str, Any] = {}
    state: dict[str, Any] = {}
    num_pending: int = 0
    delivered: dict[str, Any] = {}
    name: str = ""


_decode_answer = msgspec.json.Decoder(_Answer).decode

_NO_STREAM: Final = 10059
"""The error of JetStream's API where a stream is not there."""

EPOCH: Final = "oql-epoch"
FILLING: Final = "oql-filling"
"""What we write into the metadata of the stream: its name among those that came before and after,
and that it is being filled."""


async def ask(client: Client, verb: str, body: Any = None) -> _Answer:
    """The answer of JetStream's API.

    Raises:
        Unavailable: there is none, or an error.

    """
    answer = await _ask(client, verb, body)
    if answer.error is not None:
        log.debug("jetstream_refused", extra={"verb": verb, "reason": str(answer.error)})
        raise Unavailable(what="the event stream")
    return answer


async def _ask(client: Client, verb: str, body: Any = None) -> _Answer:
    """The answer, which may tell of an error.

    Raises:
        Unavailable: there is none.

    """
    payload = b"" if body is None else json.dumps(body).encode()
    try:
        reply = await client.request(f"$JS.API.{verb}", payload, timeout=API_TIMEOUT_S)
        answer = _decode_answer(reply.data)
    except (nats.errors.Error, OSError, TimeoutError, msgspec.MsgspecError) as exc:
        raise Unavailable(what="the event stream") from exc
    return answer


async def condition_of(client: Client, stream: str) -> StreamCondition:
    """Whether there is a stream, and whether it is whole.

    Raises:
        Unavailable: nobody answers.

    """
    answer = await _ask(client, f"STREAM.INFO.{stream}")
    if answer.error is not None:
        if answer.error.get("err_code") == _NO_STREAM:
            return StreamCondition("missing")
        raise Unavailable(what="the event stream")
    is_ = "filling" if FILLING in _notes(answer) else "open"
    return StreamCondition(is_, _epoch(answer), int(answer.state["last_seq"]))


def _notes(answer: _Answer) -> dict[str, str]:
    return answer.config.get("metadata") or {}


def _epoch(answer: _Answer) -> str:
    return _notes(answer).get(EPOCH) or answer.created


async def state_of(client: Client, stream: str) -> StreamState:
    """Which stream it is now, and what it holds.

    Raises:
        Unavailable: there is none, it is not whole, or nobody answers.

    """
    answer = await ask(client, f"STREAM.INFO.{stream}")
    if FILLING in _notes(answer):
        raise Unavailable(what="the event stream")
    first, last = int(answer.state["first_seq"]), int(answer.state["last_seq"])
    return StreamState(_epoch(answer), first, last)


class Consumer:
    """One consumer on one connection; it ends at the first sign that something is missing."""

    def __init__(self, client: Client, stream: str) -> None:
        self._client = client
        self._stream = stream
        self._arrived: deque[Msg] = deque()
        self._ready = asyncio.Event()
        self._subscription: Subscription | None = None
        self._name = ""
        self._count = 0

    async def open(self, start: int, subject: str) -> int:
        """Begin with position `start`; how many messages there are now, delivered ones included."""
        inbox = self._client.new_inbox()
        self._subscription = await self._client.subscribe(inbox, cb=self._on_message)
        config = {
            "deliver_subject": inbox,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": start,
            "ack_policy": "none",
            "max_deliver": 1,
            "replay_policy": "instant",
            "filter_subject": subject,
            "flow_control": True,
            "idle_heartbeat": int(HEARTBEAT_S * 1e9),
            "mem_storage": True,
            "num_replicas": 1,
        }
        answer = await ask(
            self._client,
            f"CONSUMER.CREATE.{self._stream}",
            {"stream_name": self._stream, "config": config},
        )
        self._name = answer.name
        return answer.num_pending + int(answer.delivered.get("consumer_seq", 0))

    async def next(self) -> list[StreamEntry] | None:
        """What has arrived, perhaps nothing; None when the consumer is of no use any more."""
        if not self._arrived:
            self._ready.clear()
            try:
                async with asyncio.timeout(_SILENCE_S):
                    await self._ready.wait()
            except TimeoutError:
                return None
        entries: list[StreamEntry] = []
        while self._arrived and len(entries) < _BATCH:
            message = self._arrived.popleft()
            if message.headers and message.headers.get(_STATUS):
                if not await self._is_whole(message):
                    return entries or None
                continue
            position, number = _numbers(message.reply)
            if number != self._count + 1:
                return entries or None
            self._count = number
            entries.append(StreamEntry(position, message.data))
        return entries

    async def close(self) -> None:
        """Let the server forget it."""
        with suppress(nats.errors.Error, OSError, Unavailable):
            if self._subscription is not None:
                await self._subscription.unsubscribe()
            if self._name:
                await ask(self._client, f"CONSUMER.DELETE.{self._stream}.{self._name}")

    async def _on_message(self, message: Msg) -> None:  # noqa: RUF029 - nats-py wants a coroutine
        self._arrived.append(message)
        self._ready.set()

    async def _is_whole(self, message: Msg) -> bool:
        """Whether a control message, which is answered, tells of no message that is missing."""
        headers = message.headers or {}
        if headers.get(_STATUS) != _CONTROL:
            return False
        stalled = message.reply or headers.get("Nats-Consumer-Stalled")
        if stalled:
            with suppress(nats.errors.Error):
                await self._client.publish(stalled)
        last = headers.get("Nats-Last-Consumer")
        return last is None or int(last) == self._count


def _numbers(reply: str) -> tuple[int, int]:
    """Position in the stream and number in the consumer: `$JS.ACK.<...>.<position>.<number>.<time>.<pending>`.

    Servers with domains put more tokens in front and one behind.
    """
    tokens = reply.split(".")
    at = 5 if len(tokens) == 9 else 7
    return int(tokens[at]), int(tokens[at + 1])


async def read(
    connected: Callable[[], Awaitable[Client]],
    stream: str,
    after: int,
    *,
    epoch: str,
    subject: str,
    until: int | None,
) -> AsyncGenerator[Sequence[StreamEntry]]:
    """See `EventStream.read`; `connected` waits for a connection."""
    while until is None or after < until:
        client = await connected()
        consumer = Consumer(client, stream)
        try:
            _check_held(await state_of(client, stream), after, epoch)
            left = await consumer.open(after + 1, subject)
            while until is None or left > 0:
                entries = await consumer.next()
                if entries is None:
                    break
                left -= len(entries)
                if entries:
                    after = entries[-1].position
                    yield entries if until is None else [e for e in entries if e.position <= until]
            else:
                return
        except Unavailable:
            await asyncio.sleep(_PAUSE_S)
        finally:
            await consumer.close()


def _check_held(state: StreamState, after: int, epoch: str) -> None:
    """Return if the stream still holds what follows `after`.

    Raises:
        PositionLost: it does not.

    """
    if state.epoch != epoch or after + 1 < state.first or after > state.last:
        raise PositionLost
