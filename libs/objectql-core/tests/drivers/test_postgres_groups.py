from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Sequence

import asyncpg  # noqa: TID251 - makes databases for the tests
import pytest

from objectql.drivers.pool import PoolSettings
from objectql.drivers.protocol import (
    Idempotency,
    Remembered,
    RowWrite,
    WriteOutcome,
    WriteScope,
)
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.errors import ObjectQLError, UniqueViolation
from objectql.testing.driver_samples import (
    ACME,
    CUSTOMERS,
    OBJECTS,
    ORDERS,
    ZOO,
    as_json,
    delete,
    ids,
    insert,
    key,
    read,
    update,
)

pytestmark = pytest.mark.servers


@pytest.fixture
async def driver(
    postgres_url: str, request: pytest.FixtureRequest
) -> AsyncIterator[PostgresDriver]:
    """A driver on an empty database of its own."""
    name = f"groups_{abs(hash(request.node.name))}"
    admin = await asyncpg.connect(postgres_url)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    url = f"{postgres_url.rpartition('/')[0]}/{name}"
    driver = PostgresDriver(PostgresSettings(url, pool=PoolSettings(min_size=1, max_size=8)))
    await driver.connect()
    await driver.apply_schema(await driver.plan_schema(OBJECTS))
    yield driver
    await driver.close()


Answer = tuple[WriteOutcome, ...] | Remembered


def alone(
    driver: PostgresDriver,
    change: RowWrite,
    *,
    idempotency: Idempotency | None = None,
    actor: str = "ann",
) -> Awaitable[Answer]:
    """A write as one request of one caller."""
    scope = WriteScope(ACME, actor, f"request of {actor}", f"trace of {actor}")
    return driver.write((change,), scope, idempotency=idempotency)


async def together(
    driver: PostgresDriver, changes: Sequence[RowWrite], keys: Sequence[Idempotency | None] = ()
) -> list[Answer | BaseException]:
    """Requests that arrive at once; the first leaves by itself, the others as a group."""
    padded = [*keys, *[None] * (len(changes) - len(keys))]
    calls = [
        alone(driver, change, idempotency=own) for change, own in zip(changes, padded, strict=True)
    ]
    return await asyncio.gather(*calls, return_exceptions=True)


def outcome(answer: Answer | BaseException) -> WriteOutcome:
    assert isinstance(answer, tuple), answer
    return answer[0]


async def test_writes_that_arrive_together_share_transactions_and_keep_their_own_answers(
    driver: PostgresDriver,
) -> None:
    calls = [
        alone(driver, insert(CUSTOMERS, f"c{n}", name=f"Name {n}"), actor=f"u{n}")
        for n in range(20)
    ]
    answers = await asyncio.gather(*calls)
    assert [as_json(outcome(a).after)["name"] for a in answers] == [f"Name {n}" for n in range(20)]
    assert driver.statistics()["grouped_writes_total"] == 19
    events = [event for _, event in await driver.outbox.pending(100)]
    assert {event.record_id: event.actor for event in events} == {
        f"c{n}": f"u{n}" for n in range(20)
    }
    for event in events:
        assert event.request_id == f"request of {event.actor}"
        assert event.traceparent == f"trace of {event.actor}"
        assert (event.tenant, event.batch, event.batch_size) == (ACME, "", 1)


async def test_groups_answer_like_writes_one_by_one(driver: PostgresDriver) -> None:
    for n in range(4):
        await alone(driver, insert(ORDERS, f"o{n}", number="x", quantity=n))
    changes = [
        update(ORDERS, "o0", number="y"),
        update(ORDERS, "o1", number="y"),
        update(ORDERS, "o2", number="x"),
        update(ORDERS, "o3", number="y", expected=1),
        update(ORDERS, "o2", number="z", expected=7),
        update(ORDERS, "nobody", number="z"),
    ]
    found = [outcome(answer) for answer in await together(driver, changes)]
    statuses = ["written", "written", "unchanged", "written", "stale", "missing"]
    assert [one.status for one in found] == statuses
    assert [one.version for one in found] == [2, 2, 1, 2, 1, 0]
    assert as_json(found[1].before)["number"] == "x"
    removed = await together(driver, [delete(ORDERS, f"o{n}") for n in range(4)])
    assert [outcome(one).status for one in removed] == ["written"] * 4
    assert await ids(driver, ORDERS) == []


async def test_a_row_that_fails_fails_alone(driver: PostgresDriver) -> None:
    await alone(driver, insert(CUSTOMERS, "c0", email="taken@x"))
    emails = ["a@x", "b@x", "taken@x", "c@x", "b@x", "d@x"]
    answers = await together(
        driver, [insert(CUSTOMERS, f"n{n}", email=email) for n, email in enumerate(emails)]
    )
    failures = [a for a in answers if isinstance(a, BaseException)]
    assert isinstance(answers[2], UniqueViolation)
    assert len(failures) == 2
    assert sum(isinstance(answers[n], UniqueViolation) for n in (1, 4)) == 1
    assert len(await ids(driver, CUSTOMERS)) == 5
    assert len(await driver.outbox.pending(100)) == 5


async def test_nobody_in_a_group_waits_for_the_lock_of_another_record(
    driver: PostgresDriver,
) -> None:
    for n in range(4):
        await alone(driver, insert(CUSTOMERS, f"c{n}", name="old"))
    async with driver.begin() as session:
        await session.lock(CUSTOMERS, ACME, "c2")
        calls = [
            asyncio.ensure_future(alone(driver, update(CUSTOMERS, f"c{n}", name="new")))
            for n in range(4)
        ]
        free = await asyncio.wait_for(asyncio.gather(calls[0], calls[1], calls[3]), 20)
        assert [outcome(answer).status for answer in free] == ["written"] * 3
        assert not calls[2].done()
    assert outcome(await calls[2]).status == "written"


@pytest.mark.parametrize("kind", ["insert", "unique", "update", "expected", "delete"])
async def test_requests_of_one_key_have_one_effect_among_others_in_groups(
    driver: PostgresDriver, kind: str
) -> None:
    for n in range(6):
        await alone(driver, insert(CUSTOMERS, f"c{n}", name="Ann"))

    def change(number: int) -> RowWrite:
        match kind:
            case "insert":
                return insert(CUSTOMERS, f"n{number}")
            case "unique":
                return insert(CUSTOMERS, f"n{number}", email="a@x")
            case "update":
                return update(CUSTOMERS, "c0", name="Bea")
            case "expected":
                return update(CUSTOMERS, "c0", name="Bea", expected=1)
            case _:
                return delete(CUSTOMERS, "c0")

    def other(number: int) -> RowWrite:
        match kind:
            case "insert" | "unique":
                return insert(CUSTOMERS, f"other{number}")
            case "delete":
                return delete(CUSTOMERS, f"c{number}")
            case _:
                return update(CUSTOMERS, f"c{number}", name="Bea")

    changes = [other(1), change(1), change(2), other(2), change(3), other(3), change(4)]
    keys = [key("o1"), key(), key(), key("o2"), key(), key("o3"), key()]
    answers = await together(driver, changes, keys)
    mine = [answers[n] for n in (1, 2, 4, 6)]
    done = [answer[0] for answer in mine if isinstance(answer, tuple)]
    replies = {answer.reply for answer in mine if isinstance(answer, Remembered)}
    assert [one.status for one in done] == ["written"]
    assert replies == {done[0].after or done[0].before}
    assert [outcome(answers[n]).status for n in (0, 3, 5)] == ["written"] * 3
    again = await together(driver, changes, keys)
    assert all(isinstance(answer, Remembered) for answer in again)
    assert len(await driver.outbox.pending(100)) == 6 + 4


async def test_tenants_are_never_in_one_group(driver: PostgresDriver) -> None:
    def of(tenant: str, n: int) -> Awaitable[Answer]:
        scope = WriteScope(ACME if tenant == "acme" else ZOO, tenant)
        return driver.write((insert(CUSTOMERS, f"{tenant}{n}"),), scope)

    await asyncio.gather(*(of(tenant, n) for n in range(5) for tenant in ("acme", "zoo")))
    assert await ids(driver, CUSTOMERS) == [f"acme{n}" for n in range(5)]
    assert await ids(driver, CUSTOMERS, ZOO) == [f"zoo{n}" for n in range(5)]


@pytest.mark.parametrize("seed", range(5))
async def test_random_writes_leave_records_events_and_answers_that_agree(
    driver: PostgresDriver, seed: int
) -> None:
    chance = random.Random(seed)
    for n in range(4):
        await alone(driver, insert(ORDERS, f"o{n}", quantity=0))
    added = dict.fromkeys((f"o{n}" for n in range(4)), 0)

    async def client() -> None:
        for _ in range(12):
            id_, step = f"o{chance.randrange(4)}", chance.randrange(1, 4)
            own = key(f"k{chance.randrange(10**9)}") if chance.random() < 0.5 else None
            change = update(ORDERS, id_, add={"quantity": step})
            try:
                answer = await alone(driver, change, idempotency=own)
            except ObjectQLError as exc:
                pytest.fail(str(exc))
            assert outcome(answer).status == "written"
            added[id_] += step
            if own is not None:
                again = await alone(driver, change, idempotency=own)
                assert again == Remembered(b"body", outcome(answer).after or b"")

    await asyncio.gather(*(client() for _ in range(8)))
    events = [event for _, event in await driver.outbox.pending(1000)]
    for id_, total in added.items():
        record = await read(driver, ORDERS, id_)
        assert record is not None
        assert as_json(record.json)["quantity"] == total
        own_events = [event for event in events if event.record_id == id_]
        assert [event.version for event in own_events] == list(range(1, record.version + 1))
        assert [e.before for e in own_events[1:]] == [e.after for e in own_events[:-1]]
    assert driver.statistics()["grouped_writes_total"] > 0
