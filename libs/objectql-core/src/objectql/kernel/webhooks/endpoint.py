"""Works off the queue of one webhook.

One worker of the cluster does, by a lease; so the requests to an endpoint are counted, spaced and
given up in one place. Deliveries of different records are under way side by side; of one record
there is only ever its first pending one. What an endpoint asks for, or its failures make necessary,
is kept in the store: whoever holds the lease next keeps to it, and a wait needs neither a worker nor
its lease. A worker that dies loses the lease within its time to
live and leaves what it had not noted as it was: told twice perhaps, never out of order, because
whoever sends a delivery has seen that the one before it was noted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from objectql import failpoints
from objectql.clock import Clock
from objectql.drivers.webhooks import Delivery, Hold, Outcome, Webhook
from objectql.errors import ObjectQLError, WriteConflict
from objectql.fairness import FairPlaces
from objectql.ids import TenantId
from objectql.kernel.lease import HeldLease
from objectql.kernel.webhooks.directory import WebhookDirectory
from objectql.kernel.webhooks.queueing import event_of
from objectql.kernel.webhooks.rules import REFUSES_MESSAGE, Answer, Circuit, Pauses, Verdict, judge
from objectql.kernel.webhooks.sealing import Sealing
from objectql.kernel.webhooks.sender import Sender
from objectql.kernel.webhooks.trail import changed
from objectql.values import instant_of_ms
from objectql.wire.webhook_signatures import sign

log = logging.getLogger(__name__)

GIVES_UP: Final = "the endpoint says that it is gone (410)"

_AHEAD: Final = 64
"""How many deliveries are read at once."""

_LOOKS_S: Final = 0.5
"""How often the queue is looked at while nothing is due; whoever queues wakes it sooner."""

_IDLE_LOOKS: Final = 6
"""After so many looks in vain the lease is given up."""

_encode = msgspec.json.Encoder().encode


class Tools(NamedTuple):
    """What all endpoints of a worker share."""

    directory: WebhookDirectory
    sender: Sender
    sealing: Sealing
    clock: Clock
    random: Callable[[], float]
    pauses: Pauses
    places: FairPlaces
    """For the requests of all tenants, of which one tenant has its share at most."""
    concurrency: int
    is_refused: Callable[[TenantId], bool]
    """Whether the tenant is suspended."""
    observe: Callable[[str, float], None]
    """Told of each attempt: `done`, `retry`, `dead` or `withheld`, and its seconds."""


class Endpoint:
    """See the head of this module."""

    def __init__(
        self, id_: str, tenant: TenantId, tools: Tools, lease: HeldLease, failures: int
    ) -> None:
        """It has failed so often in a row before."""
        self.tenant = tenant
        self.started_s = tools.clock.monotonic_s()
        self.is_ending = False
        self._id = id_
        self._tools = tools
        self._lease = lease
        self._circuit = Circuit(tools.pauses, tools.random, failures)
        self._hold = Hold(failures)
        """As it is in the store."""
        self._version: int | None = None
        self._woken = asyncio.Event()
        self._ahead: list[Delivery] = []
        self._running: dict[asyncio.Task[None], str] = {}

    def wake(self) -> None:
        """Say that there may be something to do."""
        self._woken.set()

    def end(self) -> None:
        """Let what is under way come to its end, and make room."""
        self.is_ending = True
        self._woken.set()

    async def run(self) -> None:
        """Deliver until there has been nothing for a while, or another holds the lease."""
        looks = 0
        try:
            while looks < _IDLE_LOOKS and await self._lease.keep():
                self._woken.clear()
                await self._tools.directory.refresh(_LOOKS_S / 2)
                webhook = self._tools.directory.get(self._id)
                if webhook is None or not webhook.active or self._is_refused(webhook):
                    return
                self._follow(webhook)
                if not self.is_ending:
                    await self._start(webhook)
                if not self._running and (self.is_ending or self._waits_long()):
                    return
                looks = 0 if self._running else looks + 1
                await self._wait()
        finally:
            await self._end()

    def _is_refused(self, webhook: Webhook) -> bool:
        return self._tools.is_refused(webhook.tenant)

    def _follow(self, webhook: Webhook) -> None:
        """What failed may be mended, or be another endpoint altogether: the store forgets it too."""
        if self._version not in {None, webhook.version}:
            self._circuit = Circuit(self._tools.pauses, self._tools.random)
            self._hold = Hold()
        self._version = webhook.version

    async def _start(self, webhook: Webhook) -> None:
        """Have as many attempts under way as may be."""
        if self._circuit.wait_s(self._now_s()) > 0:
            return
        limit = 1 if self._circuit.is_broken else self._tools.concurrency
        while len(self._running) < limit:
            if not self._ahead:
                await self._read()
            if not self._ahead:
                return
            delivery = self._ahead.pop(0)
            task = asyncio.create_task(self._attempt(webhook, delivery))
            self._running[task] = delivery.record
            task.add_done_callback(self._ended)

    def _waits_long(self) -> bool:
        return self._circuit.wait_s(self._now_s()) > _IDLE_LOOKS * _LOOKS_S

    async def _read(self) -> None:
        tools = self._tools
        under_way = set(self._running.values())
        heads = await tools.directory.store.heads(
            self._id, tools.clock.now_ms(), len(under_way) + _AHEAD
        )
        self._ahead = [head for head in heads if head.record not in under_way]

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._woken.set()
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.error("webhook_not_noted", exc_info=exc, extra={"webhook": self._id})
            self._circuit.failed(self._now_s())

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_LOOKS_S):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _end(self) -> None:
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._lease.is_held:
            await self._keep_hold()
        await self._lease.release()

    async def _keep_hold(self) -> None:
        """Before the lease goes: whoever takes it next begins where this one has ended."""
        circuit = self._circuit
        hold = Hold(circuit.failures, round(circuit.open_s * 1000))
        if hold == self._hold or self._version is None:
            return
        try:
            await self._tools.directory.store.hold(self._id, self._version, hold)
        except ObjectQLError as exc:
            facts = {"webhook": self._id, "reason": str(exc)}
            log.warning("webhook_hold_not_kept", extra=facts)

    def _now_s(self) -> float:
        """By the clock that workers have in common."""
        return self._tools.clock.now_ms() / 1000

    # --- one attempt ---

    async def _attempt(self, webhook: Webhook, delivery: Delivery) -> None:
        tools = self._tools
        await tools.places.enter(webhook.tenant)
        started_s = tools.clock.monotonic_s()
        try:
            answer = await self._send(webhook, delivery)
        except ObjectQLError as exc:
            answer = Answer(None, error=str(exc))
        except Exception as exc:  # a delivery that nobody can send must die, not run hot
            log.exception("webhook_attempt_failed", extra={"webhook": self._id})
            answer = Answer(None, error=f"it cannot be sent: {type(exc).__name__}")
        finally:
            tools.places.leave(webhook.tenant)
        failpoints.hit(failpoints.AFTER_DELIVERY)
        outcome, verdict = self._outcome(webhook, delivery, answer)
        await self._note(delivery, outcome)
        word = "withheld" if answer is None else _WORDS[outcome.state]
        tools.observe(word, tools.clock.monotonic_s() - started_s)
        if verdict is not None and verdict.is_gone:
            await self._switch_off(webhook)

    async def _send(self, webhook: Webhook, delivery: Delivery) -> Answer | None:
        """What the endpoint answers; None where it is not to be told any more."""
        tools = self._tools
        event = event_of(delivery.event)
        subscription = tools.directory.subscription(webhook.id, event.object)
        if subscription is None:
            return Answer(None, error=f"the webhook cannot read {event.object} now")
        now_ms = tools.clock.now_ms()
        message = subscription.message(event, now_ms)
        if message is None:
            return None
        tells_record = "record" in message["data"]
        if tells_record and not await tools.directory.is_seen_now(subscription, event):
            return None
        trace = {"traceparent": event.traceparent} if event.traceparent else {}
        return await post(webhook, event.id, _encode(message), tools, trace)

    def _outcome(
        self, webhook: Webhook, delivery: Delivery, answer: Answer | None
    ) -> tuple[Outcome, Verdict | None]:
        tools = self._tools
        now_ms, now_s = tools.clock.now_ms(), self._now_s()
        if answer is None:
            reason = "not told: it may not be read any more"
            return Outcome("done", delivery.attempts + 1, finished_ms=now_ms, reason=reason), None
        attempts = delivery.attempts + 1
        verdict = judge(
            answer,
            attempts,
            webhook.max_attempts,
            pauses=tools.pauses,
            now_s=now_ms / 1000,
            random=tools.random,
        )
        if verdict.is_done or answer.status in REFUSES_MESSAGE:
            self._circuit.succeeded()
        else:
            self._circuit.failed(now_s)
        if verdict.is_done:
            outcome = Outcome("done", attempts, finished_ms=now_ms, status=answer.status)
        elif verdict.retry_s is None:
            outcome = Outcome(
                "dead", attempts, finished_ms=now_ms, status=answer.status, reason=verdict.reason
            )
        else:
            if verdict.holds_all:
                self._circuit.hold(now_s, verdict.retry_s)
            due_ms = now_ms + round(verdict.retry_s * 1000)
            outcome = Outcome(
                "pending", attempts, due_ms=due_ms, status=answer.status, reason=verdict.reason
            )
        return outcome, verdict

    async def _note(self, delivery: Delivery, outcome: Outcome) -> None:
        """Until it is noted, the record's next delivery does not start."""
        tools = self._tools
        while self._lease.is_held:
            try:
                await tools.directory.store.settle(delivery, outcome)
            except ObjectQLError as exc:
                facts = {"webhook": self._id, "reason": str(exc)}
                log.warning("webhook_attempt_not_noted", extra=facts)
                await tools.clock.sleep(_LOOKS_S)
            else:
                return

    async def _switch_off(self, webhook: Webhook) -> None:
        tools = self._tools
        now = instant_of_ms(tools.clock.now_ms())
        off = msgspec.structs.replace(
            webhook, active=False, disabled_because=GIVES_UP, updated_at=now
        )
        record = [changed(None, webhook, off, tools.clock)]
        try:
            await tools.directory.store.save(off, record=record)
        except WriteConflict:  # somebody has just changed it; the next answer tells again
            return
        log.warning("webhook_switched_off", extra={"webhook": webhook.id})


_WORDS: Final = {"done": "done", "pending": "retry", "dead": "dead"}


async def post(
    webhook: Webhook, id_: str, body: bytes, tools: Tools, more: dict[str, str] | None = None
) -> Answer:
    """Send one signed message.

    Raises:
        Unavailable: its secrets cannot be opened.

    """
    now_ms = tools.clock.now_ms()
    secrets = [
        tools.sealing.open(secret.sealed)
        for secret in webhook.secrets
        if secret.until_ms is None or secret.until_ms > now_ms
    ]
    headers = {name: tools.sealing.open(value) for name, value in webhook.headers.items()}
    headers |= {"content-type": "application/json", "user-agent": "ObjectQL-Webhooks/1"}
    headers |= more or {}
    headers |= sign(id_, now_ms // 1000, body, secrets)
    return await tools.sender.post(
        webhook.url, headers, body, webhook.timeout_s, tenant=webhook.tenant
    )
