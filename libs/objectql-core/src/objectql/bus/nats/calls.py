"""Requests on one connection: sent together, answered one by one, cancelled when nobody waits.

All answers come to one inbox, under three kinds of last token: `answers` is messages full of
answers, `<n>` the answer to a request that was sent alone, `<n>-<count>` the server's notice that
nobody took a frame.
"""

# pyright: reportUnknownMemberType=false
# nats-py leaves the parameters of its futures and options open.

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import nats.errors  # noqa: TID251 - home of nats
from nats.aio.client import Client  # noqa: TID251
from nats.aio.msg import Msg  # noqa: TID251

from objectql.bus.chunks import Joiner
from objectql.bus.gather import Gather
from objectql.bus.port import Envelope
from objectql.errors import DeadlineExceeded, ObjectQLError, OutcomeUnknown, Unavailable
from objectql.wire import codec
from objectql.wire.frames import Answers, Ask, Cancel, Frame, packs
from objectql.wire.headers import CHUNK
from objectql.wire.subjects import rpc_cancel, rpc_many, rpc_service

log = logging.getLogger(__name__)

STATUS = "Status"
NO_RESPONDERS = "503"
"""What stands in the header `Status` when nobody serves the subject."""

_ANSWERS = "answers"


class _Call:
    """A request without its answer yet. It has a number once it is sent."""

    __slots__ = ("answer", "ask", "is_settled", "joiner", "number")

    def __init__(self, ask: Ask, loop: asyncio.AbstractEventLoop) -> None:
        self.ask = ask
        self.answer: asyncio.Future[Envelope] = loop.create_future()
        self.number: int | None = None
        self.joiner: Joiner | None = None
        self.is_settled = False
        """Nobody works on it any more, as far as can be known here."""

    def size(self) -> int:
        return len(self.ask.body)

    def settle(self, error: ObjectQLError) -> None:
        self.is_settled = True
        if not self.answer.done():
            self.answer.set_exception(error)

    def expire(self) -> None:
        if not self.answer.done():
            self.answer.set_exception(DeadlineExceeded())

    def outcome(self) -> Envelope | ObjectQLError:
        """The answer that is there, or what came in its place."""
        error = self.answer.exception()
        if error is None:
            return self.answer.result()
        assert isinstance(error, ObjectQLError)  # nothing else is ever set
        return error

    def take(self, body: bytes, headers: Mapping[str, str]) -> None:
        """An answer, or a piece of one."""
        if not body and headers.get(STATUS) == NO_RESPONDERS:
            self.settle(Unavailable(what="the service"))
            return
        whole: Envelope | None = Envelope(subject="", body=body, headers=headers)
        if CHUNK in headers:
            self.joiner = self.joiner or Joiner()
            try:
                whole = self.joiner.add("", body, headers)
            except ValueError as exc:
                log.warning("reply_malformed", extra={"reason": str(exc)})
                self.settle(OutcomeUnknown())
                return
        if whole is not None:
            self.is_settled = True
            if not self.answer.done():
                self.answer.set_result(whole)


class Calls:
    """The requests of one connection; it ends with the connection."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox: str = client.new_inbox() + "."
        self._open: set[_Call] = set()
        self._sent: dict[int, _Call] = {}
        self._next = 0
        self._asks = Gather(self._send_asks)
        self._cancels = Gather(self._send_cancels)

    async def start(self) -> None:
        """Listen for answers."""
        await self._client.subscribe(self._inbox + "*", cb=self._on_message)

    async def request(
        self, subject: str, body: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> Envelope:
        """See `Bus.request`. A request to a service's verb shares its message with others."""
        loop = asyncio.get_running_loop()
        service = rpc_service(subject)
        call = _Call(Ask(subject, dict(headers), body), loop)
        self._open.add(call)
        timer = loop.call_later(timeout_s, call.expire)
        try:
            if service is None:
                await self._send_alone(call)
            elif not self._asks.add(service, call):
                raise Unavailable(what="the bus")
            return await call.answer
        finally:
            timer.cancel()
            if service is not None and call.number is not None and not call.is_settled:
                self._cancels.add(service, call.number)
            self._forget(call)

    async def request_each(
        self, asks: Iterable[Ask], timeout_s: float
    ) -> list[Envelope | ObjectQLError]:
        """The answers, errors among them, to requests that are messages of their own.

        One timer for all and no tasks: a third of what as many calls of `request` cost.
        """
        loop = asyncio.get_running_loop()
        calls = [_Call(ask, loop) for ask in asks]
        self._open.update(calls)

        def expire() -> None:
            for call in calls:
                call.expire()

        timer = loop.call_later(timeout_s, expire)
        try:
            for call in calls:
                await self._send_alone(call)
            await asyncio.wait([call.answer for call in calls])
            return [call.outcome() for call in calls]
        finally:
            timer.cancel()
            for call in calls:
                self._forget(call)

    def _forget(self, call: _Call) -> None:
        """Nobody waits for its answer any more."""
        self._open.discard(call)
        if call.number is not None:
            del self._sent[call.number]
        call.answer.cancel()

    def lose(self) -> None:
        """The connection is gone: what was sent may have happened, what was not has not."""
        self._asks.close()
        self._cancels.close()
        for call in list(self._open):
            call.settle(Unavailable(what="the bus") if call.number is None else OutcomeUnknown())

    # --- out -----------------------------------------------------------------------------

    def _number(self, calls: list[_Call]) -> int:
        first = self._next
        self._next += len(calls)
        for number, call in enumerate(calls, first):
            call.number = number
            self._sent[number] = call
        return first

    async def _send_alone(self, call: _Call) -> None:
        ask = call.ask
        reply = f"{self._inbox}{self._number([call])}"
        await self._publish([call], ask.subject, ask.body, reply, headers=ask.headers or None)

    async def _send_asks(self, service: str, calls: list[_Call]) -> None:
        wanted = [call for call in calls if not call.answer.done()]
        for pack in packs(wanted, _Call.size):
            first = self._number(pack)
            frame = Frame(self._inbox + _ANSWERS, first, tuple([call.ask for call in pack]))
            reply = f"{self._inbox}{first}-{len(pack)}"
            await self._publish(pack, rpc_many(service), codec.encode(frame), reply)

    async def _publish(
        self,
        calls: list[_Call],
        subject: str,
        body: bytes,
        reply: str,
        headers: dict[str, Any] | None = None,
    ) -> None:
        try:
            await self._client.publish(subject, body, reply=reply, headers=headers)
        except nats.errors.Error:
            for call in calls:
                call.settle(Unavailable(what="the bus"))

    async def _send_cancels(self, service: str, numbers: list[int]) -> None:
        note = Cancel(self._inbox + _ANSWERS, tuple(numbers))
        try:
            await self._client.publish(rpc_cancel(service), codec.encode(note))
        except nats.errors.Error as exc:  # the work ends at its deadline
            log.debug("cancel_lost", extra={"reason": repr(exc)})

    # --- in ------------------------------------------------------------------------------

    async def _on_message(self, msg: Msg) -> None:  # noqa: RUF029 - nats-py wants a coroutine
        token = msg.subject[len(self._inbox) :]
        if token == _ANSWERS:
            try:
                answers = codec.decode(Answers, msg.data)
            except msgspec.MsgspecError as exc:
                log.warning("reply_malformed", extra={"reason": str(exc)})
                return
            for answer in answers.items:
                self._take(answer.number, answer.body, answer.headers)
            return
        first, _, count = token.partition("-")
        for number in range(int(first), int(first) + int(count or 1)):
            self._take(number, msg.data, msg.headers or {})

    def _take(self, number: int, body: bytes, headers: Mapping[str, str]) -> None:
        call = self._sent.get(number)
        if call is not None:
            call.take(body, headers)
