"""Many small pools share one bound on connections, and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.drivers.budget import ConnectionBudget
from objectql.drivers.pool import ConnectionPool, Connector, PoolSettings
from objectql.errors import PoolExhausted, Unavailable


class Source:
    """Counts the connections that are open at once."""

    def __init__(self) -> None:
        self.open = self.most = 0
        self.is_down = False

    async def connect(self) -> list[bool]:
        if self.is_down:
            raise Unavailable(what="source")
        self.open += 1
        self.most = max(self.most, self.open)
        return [True]

    async def close(self, connection: list[bool]) -> None:
        await asyncio.sleep(0)
        connection[0] = False
        self.open -= 1

    async def ping(self, connection: list[bool]) -> None:
        pass

    def pool(self, budget: ConnectionBudget, size: int = 2) -> ConnectionPool[list[bool]]:
        connector = Connector(self.connect, self.close, self.ping, lambda c: c[0])
        settings = PoolSettings(min_size=0, max_size=size, acquire_timeout_s=5.0)
        return ConnectionPool("p", connector, settings, budget=budget)


async def test_idle_connection_of_another_pool_makes_room() -> None:
    source, budget = Source(), ConnectionBudget(2)
    pools = [source.pool(budget) for _ in range(3)]
    for pool in pools:
        pool.release(await pool.acquire())
    assert source.most <= 2
    assert [pool.statistics().idle for pool in pools] == [0, 1, 1]  # the first was idle for longest
    for pool in pools:
        await pool.close()
    assert budget.used == source.open == 0


async def test_returned_connection_ends_for_those_who_wait_in_other_pools() -> None:
    source, budget = Source(), ConnectionBudget(1)
    ours, theirs = source.pool(budget), source.pool(budget)
    held = await ours.acquire()
    waiting = asyncio.create_task(theirs.acquire())
    await asyncio.sleep(0)
    assert not waiting.done()
    ours.release(held)
    theirs.release(await waiting)
    assert (source.most, budget.used) == (1, 1)
    for pool in (ours, theirs):
        await pool.close()


async def test_who_gave_up_waiting_leaves_nothing_taken() -> None:
    source, budget = Source(), ConnectionBudget(1)
    ours, theirs = source.pool(budget), source.pool(budget)
    held = await ours.acquire()
    with pytest.raises(PoolExhausted):
        await theirs.acquire(0.01)
    assert not budget.is_short
    ours.release(held)
    assert ours.statistics().idle == 1
    theirs.release(await theirs.acquire())
    for pool in (ours, theirs):
        await pool.close()
    assert budget.used == 0


async def test_connection_that_could_not_be_made_is_given_back() -> None:
    source, budget = Source(), ConnectionBudget(1)
    pool = source.pool(budget)
    source.is_down = True
    with pytest.raises(Unavailable):
        await pool.acquire()
    assert budget.used == 0
    source.is_down = False
    pool.release(await pool.acquire())
    await pool.close()


@given(st.data())
def test_whatever_callers_do_the_bound_holds_and_all_is_given_back(data: st.DataObject) -> None:
    async def run() -> None:
        source = Source()
        budget = ConnectionBudget(data.draw(st.integers(1, 4), "bound"))
        pools = [source.pool(budget) for _ in range(data.draw(st.integers(1, 5), "pools"))]

        async def call(pool: ConnectionPool[list[bool]], pauses: int, *, fails: bool) -> None:
            connection = await pool.acquire()
            try:
                for _ in range(pauses):
                    await asyncio.sleep(0)
            finally:
                pool.release(connection, discard=fails)

        calls = data.draw(
            st.lists(
                st.tuples(st.sampled_from(pools), st.integers(0, 5), st.booleans(), st.booleans()),
                max_size=30,
            ),
            "calls",
        )
        tasks: list[asyncio.Task[None]] = []
        for pool, pauses, fails, is_cancelled in calls:
            tasks.append(asyncio.create_task(call(pool, pauses, fails=fails)))
            if is_cancelled:
                await asyncio.sleep(0)
                tasks[-1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert source.most <= budget.size
        for pool in pools:
            await pool.close()
        assert (source.open, budget.used, budget.is_short) == (0, 0, False)

    asyncio.run(run())
