"""What operators have a coordinator tell single processes.

A command is one message that is not answered: that it was heard shows in the heartbeats of who was
told, which is also what everybody else goes by. It says who wants it and until when it means
anything, and is signed like a request, so what was recorded on the bus is of no use later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

from objectql.bus.port import Bus, Envelope
from objectql.clock import Clock
from objectql.context import Actor, Context
from objectql.errors import ObjectQLError
from objectql.ids import uuid7
from objectql.wire.headers import from_headers, to_headers
from objectql.wire.subjects import command
from objectql.wire.trust import SIGNATURE, ContextKeys

log = logging.getLogger(__name__)

DRAIN: Final = "drain"
"""Take no more work, finish what is in flight, give back all leases, and wait for the end."""

MEANT_FOR_MS: Final = 5_000


async def tell(
    bus: Bus,
    verb: str,
    *,
    service: str,
    instance: str,
    actor: Actor,
    clock: Clock,
    keys: ContextKeys | None,
) -> None:
    """Have one process do `verb`, if it hears of it; to be repeated until its heartbeats say so.

    Raises:
        Unavailable: the bus is not connected.

    """
    subject = command(service, instance, verb)
    deadline_ms = clock.now_ms() + MEANT_FOR_MS
    context = Context(actor=actor, deadline_ms=deadline_ms, request_id=uuid7())
    headers = to_headers(context)
    if keys is not None:
        headers[SIGNATURE] = keys.sign(subject, headers, b"")
    await bus.publish(subject, b"", headers)


class Commands:
    """What one process does when it is told to. Each may be told again and again."""

    def __init__(
        self, known: Mapping[str, Callable[[], None]], clock: Clock, keys: ContextKeys | None
    ) -> None:
        self._known = known
        self._clock = clock
        self._keys = keys

    async def hear(self, envelope: Envelope) -> None:  # noqa: RUF029 - a listener is a coroutine
        """Do as told; what is forged, late or not known is logged and changes nothing."""
        verb = envelope.subject.rpartition(".")[2]
        try:
            if self._keys is not None:
                self._keys.check(envelope.subject, envelope.headers, envelope.body)
            context = from_headers(envelope.headers)
        except ObjectQLError as exc:
            log.warning("command_refused", extra={"command": verb, "reason": str(exc)})
            return
        work = self._known.get(verb)
        if work is None or context.deadline_ms <= self._clock.now_ms():
            reason = "not known" if work is None else "too late"
            log.warning("command_refused", extra={"command": verb, "reason": reason})
            return
        log.info("command_heard", extra={"command": verb, "actor": context.actor.id})
        work()
