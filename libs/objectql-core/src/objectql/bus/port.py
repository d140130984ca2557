"""The bus port. The in-memory and the NATS bus pass one conformance suite."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import msgspec

from objectql.wire.stream import Stored, StreamCondition, StreamMessage


class Envelope(msgspec.Struct, frozen=True):
    """One message as it travels: headers are transport facts, the body is the request."""

    subject: str
    body: bytes
    headers: Mapping[str, str] = {}


Handler: TypeAlias = Callable[[Envelope], Awaitable[Envelope]]
"""Answers a request; the reply's subject is ignored. Must not raise."""

Listener: TypeAlias = Callable[[Envelope], Awaitable[None]]

Unsubscribe: TypeAlias = Callable[[], Awaitable[None]]


class Bus(Protocol):
    """Request/reply and publish/subscribe, at most once."""

    async def request(
        self, subject: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float
    ) -> Envelope:
        """The first answer; replies that come in chunks are joined.

        Requests of one turn of the loop may share a message; each has its own answer and fate.
        Cancelling the caller, or the end of its time, cancels a handler that may be (`serve`).

        Raises:
            Unavailable: nobody serves the subject, or the bus is not connected (at once).
            DeadlineExceeded: no answer within `timeout_s`.
            OutcomeUnknown: the connection broke after the request was sent.
            PayloadTooLarge: the request is longer than the bus takes.

        """
        ...

    async def publish(
        self, subject: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send to whoever listens now.

        Raises:
            Unavailable: the bus is not connected.

        """
        ...

    async def subscribe(self, subject: str, listener: Listener) -> Unsubscribe:
        """Call `listener` for each message in order; wildcards `*` and `>` as in NATS."""
        ...

    async def serve(
        self,
        service: str,
        queue: str,
        handlers: Mapping[str, Handler],
        *,
        version: str,
        cancellable: Collection[str] = (),
    ) -> Unsubscribe:
        """Answer requests on each subject, shared with the other members of `queue`.

        Requests run concurrently; the server in front limits how many. Handlers of the subjects
        in `cancellable` are cancelled when their caller does not wait any more; others finish.
        Only verbs of a service (`wire.subjects.rpc_service`) can be. Unsubscribing stops new
        requests and waits for those that run.
        """
        ...

    @property
    def is_connected(self) -> bool: ...

    async def close(self) -> None:
        """Flush, then disconnect."""
        ...


class StreamState(NamedTuple):
    """Which stream it is, and the positions that it holds.

    `epoch` differs between streams of one name; an empty stream has `first` after `last`.
    """

    epoch: str
    first: int
    last: int


class StreamEntry(NamedTuple):
    """One message and its position, which grows by one from message to message."""

    position: int
    body: bytes


class PositionLost(Exception):
    """The stream does not hold what follows a position: it is too old, or of another stream."""


class EventStream(Protocol):
    """A durable stream for change events (JetStream, or a list in memory)."""

    async def ensure(self) -> None:
        """Create an empty stream, or configure the one that there is."""
        ...

    async def publish(self, messages: Sequence[StreamMessage]) -> Stored:
        """Where the stream has stored `messages`, in whatever order, or had them already.

        Raises:
            Unavailable: nothing could be stored now.

        """
        ...

    async def condition(self) -> StreamCondition:
        """What has to be done about the stream.

        Raises:
            Unavailable: nobody can say.

        """
        ...

    async def begin(self, epoch: str, first: int) -> None:
        """Create the stream again, with nothing in it and `first` as the next position.

        Publishers find no stream and readers wait until it is `open`ed.

        Raises:
            Unavailable

        """
        ...

    async def fill(self, start: int, messages: Sequence[StreamMessage | None]) -> None:
        """Store messages at the positions from `start` on, which must be next; None leaves a hole.

        A hole is a message with an empty body.

        Raises:
            Unavailable: not all lie where they belong; `condition` tells how far it got.

        """
        ...

    async def open(self) -> None:
        """Let publishers and readers in.

        Raises:
            Unavailable

        """
        ...

    async def state(self) -> StreamState:
        """Which stream there is now.

        Raises:
            Unavailable: nobody can say.

        """
        ...

    def read(
        self, after: int, *, epoch: str, subject: str, until: int | None = None
    ) -> AsyncGenerator[Sequence[StreamEntry]]:
        """The messages on `subject` behind the position `after`, in order, none left out or twice.

        It waits for messages to come, and for a bus that is away, until it is closed; with
        `until`, it ends when everything up to that position has been given.

        Raises:
            PositionLost: what follows `after` is not in the stream `epoch` any more.

        """
        ...
