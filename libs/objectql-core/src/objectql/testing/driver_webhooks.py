"""What the driver port promises about webhooks: their registry, and the queue of deliveries."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from objectql.drivers.protocol import Driver
from objectql.drivers.webhooks import (
    Delivery,
    DeliveryState,
    Hold,
    NewEvent,
    Outcome,
    QueueCounts,
    SealedSecret,
    Waiting,
    Webhook,
)
from objectql.errors import QuotaExceeded, UniqueViolation, WriteConflict
from objectql.ids import TenantId
from objectql.testing.driver_samples import ACME, OBJECTS

GLOBEX = TenantId("globex")


def webhook(id_: str, name: str, **more: Any) -> Webhook:
    """A webhook of the tenant acme, unless told otherwise."""
    given: dict[str, Any] = {"tenant": ACME, "url": "https://x.example/", "objects": ("o",), **more}
    return Webhook(id=id_, name=name, **given)


def new(event: str, record: str, *hooks: str, tenant: TenantId = ACME) -> NewEvent:
    """What is to be put in the queue, for `w1` unless others are named."""
    return NewEvent(tenant, event, record, f'{{"id":"{event}"}}', hooks or ("w1",))


async def queued(driver: Driver, *events: NewEvent, now_ms: int = 10) -> None:
    """Webhook `w1` with deliveries of these, one put in after the other."""
    await driver.webhooks.save(webhook("w1", "one"))
    for event in events:
        await driver.webhooks.enqueue([event], now_ms)


def events_of(deliveries: tuple[Delivery, ...]) -> list[str]:
    """Their ids in order."""
    return [delivery.event_id for delivery in deliveries]


class WebhookPromises:
    """The registry, and the queue."""

    async def test_webhooks_come_back_as_they_were_given(self, driver: Driver) -> None:
        store = driver.webhooks
        assert await store.load() == (0, ())
        full = webhook(
            "w2",
            "a",
            tenant=GLOBEX,
            events=("deleted",),
            where={"and": [{"é": 1}]},
            fields=("x",),
            roles=("r",),
            headers={"X": "y"},
            secrets=(SealedSecret("s"), SealedSecret("t", 5)),
            active=False,
        )
        saved = [await store.save(full), await store.save(webhook("w1", "a"))]
        assert saved[0] == msgspec.structs.replace(full, version=1)
        changed = await store.save(msgspec.structs.replace(saved[1], url="https://y.example/"))
        assert await store.load() == (3, (changed, saved[0]))
        assert await store.current_version() == 3

    async def test_only_one_webhook_of_a_tenant_has_a_name(self, driver: Driver) -> None:
        store = driver.webhooks
        saves = [store.save(webhook(f"w{n}", "same")) for n in range(4)]
        answers = await asyncio.gather(*saves, return_exceptions=True)
        assert sum(isinstance(answer, Webhook) for answer in answers) == 1
        assert sum(isinstance(answer, UniqueViolation) for answer in answers) == 3
        await store.save(webhook("w9", "same", tenant=GLOBEX))

    async def test_only_one_of_concurrent_changes_of_a_webhook_wins(self, driver: Driver) -> None:
        store = driver.webhooks
        saved = await store.save(webhook("w1", "one"))
        saves = [store.save(msgspec.structs.replace(saved, timeout_s=n + 1.0)) for n in range(4)]
        answers = await asyncio.gather(*saves, return_exceptions=True)
        assert sum(isinstance(answer, Webhook) for answer in answers) == 1
        assert sum(isinstance(answer, WriteConflict) for answer in answers) == 3
        await store.remove(saved)
        with pytest.raises(WriteConflict):
            await store.save(msgspec.structs.replace(saved, version=2))

    async def test_event_is_put_in_once_for_each_webhook(self, driver: Driver) -> None:
        store = driver.webhooks
        await queued(driver)
        await store.save(webhook("w2", "two"))
        assert await store.enqueue([], 10) == 0
        assert await store.enqueue([new("e1", "r1"), new("e1", "r1", "w2")], 10) == 2
        assert await store.enqueue([new("e1", "r1"), new("e2", "r2")], 11) == 1
        (first,) = await store.heads("w2", 10, 10)
        assert first == Delivery(
            position=first.position,
            tenant=ACME,
            webhook="w2",
            event_id="e1",
            record="r1",
            event='{"id":"e1"}',
            state="pending",
            attempts=0,
            due_ms=10,
            created_ms=10,
        )
        assert await store.counts() == QueueCounts(3, 0, 10)

    async def test_first_pending_delivery_of_each_record_may_be_tried(self, driver: Driver) -> None:
        store = driver.webhooks
        await queued(driver, new("e1", "r1"), new("e2", "r2"), new("e3", "r1"), new("e4", "r3"))
        heads = await store.heads("w1", 10, 10)
        assert events_of(heads) == ["e1", "e2", "e4"]
        assert events_of(await store.heads("w1", 10, 2)) == ["e1", "e2"]
        assert await store.heads("w1", 9, 10) == ()
        await store.settle(heads[0], Outcome("pending", 1, due_ms=50, reason="no"))
        assert events_of(await store.heads("w1", 10, 10)) == ["e2", "e4"]  # e3 waits for e1
        (again,) = [d for d in await store.heads("w1", 50, 10) if d.record == "r1"]
        assert (again.event_id, again.attempts, again.reason) == ("e1", 1, "no")
        await store.settle(again, Outcome("dead", 2, finished_ms=51, status=422, reason="bad"))
        assert events_of(await store.heads("w1", 51, 10)) == ["e2", "e3", "e4"]
        assert await store.counts() == QueueCounts(3, 1, 10)

    async def test_attempt_is_noted_once(self, driver: Driver) -> None:
        store = driver.webhooks
        await queued(driver, new("e1", "r1"))
        (first,) = await store.heads("w1", 10, 1)
        later = Outcome("pending", 1, due_ms=10, reason="no")
        assert await store.settle(first, later)
        assert not await store.settle(first, later)  # by who has seen nothing of the first
        (head,) = await store.heads("w1", 10, 1)
        done = Outcome("done", 2, finished_ms=11, status=204)
        answers = await asyncio.gather(*(store.settle(head, done) for _ in range(3)))
        assert sorted(answers) == [False, False, True]
        (stored,) = await store.deliveries("w1", None, before=None, limit=5)
        assert (stored.state, stored.status, stored.finished_ms) == ("done", 204, 11)

    async def test_webhooks_with_something_due_are_told(self, driver: Driver) -> None:
        store = driver.webhooks
        await queued(driver, new("e1", "r1"))
        await store.save(webhook("w2", "two"))
        await store.enqueue([new("e1", "r1", "nobody")], 10)
        assert await store.waiting(9, 10) == ()
        assert await store.waiting(10, 10) == (Waiting("w1", 0),)
        (head,) = await store.heads("w1", 10, 1)
        await store.settle(head, Outcome("done", 1, finished_ms=11))
        assert await store.waiting(10, 10) == ()

    async def test_what_is_held_back_is_not_told_until_then_or_until_it_is_changed(
        self, driver: Driver
    ) -> None:
        store = driver.webhooks
        await queued(driver, new("e1", "r1"))
        await store.hold("w1", 1, Hold(failures=2))
        assert await store.waiting(10, 10) == (Waiting("w1", 2),)
        await store.hold("w1", 1, Hold(failures=3, until_ms=20))
        assert await store.waiting(19, 10) == ()
        assert await store.waiting(20, 10) == (Waiting("w1", 3),)
        (stored,) = (await store.load())[1]
        await store.save(stored)
        await store.hold("w1", 1, Hold(failures=4, until_ms=20))  # by who sent to what it was
        assert await store.waiting(10, 10) == (Waiting("w1", 0),)
        await store.hold("nobody", 1, Hold(failures=1, until_ms=99))
        await store.save(webhook("nobody", "two"))
        await store.enqueue([new("e1", "r1", "nobody")], 10)
        assert Waiting("nobody", 0) in await store.waiting(10, 10)

    async def test_an_event_stays_for_as_long_as_a_delivery_of_it(self, driver: Driver) -> None:
        store = driver.webhooks
        await queued(driver, new("e1", "r1", "w1", "w2"))
        text = new("e1", "r1").text
        await store.settle((await store.heads("w1", 10, 1))[0], Outcome("done", 1, finished_ms=11))
        assert await store.purge(50) == 1
        (late,) = await store.heads("w2", 10, 1)
        assert late.event == text
        await store.settle(late, Outcome("dead", 1, finished_ms=60))
        assert await store.purge(50) == 0
        assert await store.replay("w2", 70) == 1
        assert (await store.heads("w2", 70, 1))[0].event == text

    async def test_a_tenant_has_no_more_webhooks_than_agreed_though_they_come_at_once(
        self, driver: Driver
    ) -> None:
        new_ones = [webhook(f"w{n}", f"n{n}") for n in range(6)]
        saves = (driver.webhooks.save(one, most=3) for one in new_ones)
        done = await asyncio.gather(*saves, return_exceptions=True)
        assert [type(one) for one in done].count(Webhook) == 3
        assert [type(one) for one in done].count(QuotaExceeded) == 3
        await driver.webhooks.save(webhook("w9", "n9", tenant=GLOBEX), most=3)
        _, (first, *_) = await driver.webhooks.load()
        await driver.webhooks.save(first, most=3)

    async def test_log_is_told_from_its_end_and_by_state(self, driver: Driver) -> None:
        store = driver.webhooks
        await queued(driver, *(new(f"e{n}", f"r{n}") for n in range(5)))
        heads = await store.heads("w1", 10, 10)
        await store.settle(heads[1], Outcome("dead", 1, finished_ms=20, reason="é" * 900))
        latest = await store.deliveries("w1", None, before=None, limit=2)
        assert events_of(latest) == ["e4", "e3"]
        further = await store.deliveries("w1", None, before=latest[-1].position, limit=9)
        assert events_of(further) == ["e2", "e1", "e0"]
        (dead,) = await store.deliveries("w1", "dead", before=None, limit=9)
        assert (dead.event_id, dead.reason) == ("e1", "é" * 500)
        assert await store.deliveries("w2", None, before=None, limit=9) == ()

    async def test_replay_makes_pending_what_was_finished(self, driver: Driver) -> None:
        store = driver.webhooks
        await queued(driver, new("e1", "r1"), new("e2", "r1"), new("e3", "r2"), new("e4", "r3"))
        states: dict[str, DeliveryState] = {"e1": "dead", "e2": "done", "e3": "done"}
        for event, state in states.items():
            (head,) = [d for d in await store.heads("w1", 10, 9) if d.event_id == event]
            await store.settle(head, Outcome(state, 3, finished_ms=20))
        assert await store.replay("w2", 30) == 0
        assert await store.replay("w1", 30, event_id="e4") == 0  # it is pending as it is
        assert await store.replay("w1", 30, event_id="e3") == 1
        assert await store.replay("w1", 30) == 1
        heads = await store.heads("w1", 30, 9)
        assert events_of(heads) == ["e1", "e3", "e4"]
        assert [head.attempts for head in heads] == [0, 0, 0]
        assert await store.replay("w1", 31, since_ms=11) == 0
        assert await store.replay("w1", 31, since_ms=10) == 1
        assert events_of(await store.heads("w1", 31, 9)) == ["e1", "e3", "e4"]
        assert (await store.counts())[:2] == (4, 0)

    async def test_what_waits_too_long_dies_and_what_is_finished_goes(self, driver: Driver) -> None:
        store = driver.webhooks
        await queued(driver, new("e1", "r1"), new("e2", "r2"))
        await store.enqueue([new("e3", "r3")], 20)
        (head, _) = await store.heads("w1", 10, 9)
        await store.settle(head, Outcome("done", 1, finished_ms=15))
        assert await store.expire(20, 30, "too late") == 1
        (dead,) = await store.deliveries("w1", "dead", before=None, limit=9)
        assert (dead.event_id, dead.reason, dead.finished_ms) == ("e2", "too late", 30)
        assert await store.purge(16) == 1
        assert events_of(await store.deliveries("w1", None, before=None, limit=9)) == ["e3", "e2"]
        assert await store.purge(31) == 1
        assert await store.counts() == QueueCounts(1, 0, 20)

    async def test_nothing_is_left_of_a_removed_webhook(self, driver: Driver) -> None:
        store = driver.webhooks
        await queued(driver, new("e1", "r1"))
        await store.enqueue([new("e1", "r1", "w2")], 10)
        version, (saved,) = await store.load()
        await store.remove(saved)
        assert await store.load() == (version + 1, ())
        assert await store.counts() == QueueCounts(1, 0, 10)
        await store.save(webhook("w3", "one"))
        assert await store.heads("w3", 10, 9) == ()

    async def test_webhooks_of_a_deleted_tenant_go_with_it(self, driver: Driver) -> None:
        store = driver.webhooks
        await queued(driver, new("e1", "r1"))
        other = await store.save(webhook("w2", "one", tenant=GLOBEX))
        await store.enqueue([new("e1", "r1", "w2", tenant=GLOBEX)], 12)
        await driver.delete_tenant(ACME, OBJECTS)
        assert (await store.load())[1] == (other,)
        assert await store.counts() == QueueCounts(1, 0, 12)
