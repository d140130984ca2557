"""Places are never more than there are, go round between tenants, and are never lost."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from objectql.errors import Overloaded, RateLimited
from objectql.fairness import FairPlaces, PlaceLimits


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_tenant_never_holds_more_than_its_share() -> None:
    places = FairPlaces(PlaceLimits(total=4, max_waiting=10))
    taken = [places.enter_now("heavy") for _ in range(4)]
    assert taken == [True, True, False, False]
    assert places.enter_now("other")


async def test_the_places_go_round_between_those_who_wait() -> None:
    places = FairPlaces(PlaceLimits(total=2, max_waiting=100))
    order: list[str] = []

    async def work(tenant: str) -> None:
        await places.enter(tenant)
        order.append(tenant)
        await asyncio.sleep(0)
        places.leave(tenant)

    jobs = [asyncio.create_task(work("heavy")) for _ in range(20)]
    await asyncio.sleep(0)
    jobs += [asyncio.create_task(work(name)) for name in ("a", "b", "c")]
    await asyncio.gather(*jobs)
    assert max(order.index(name) for name in "abc") < 8
    assert places.held == places.waiting == 0


async def test_too_many_waiting_are_refused_to_the_tenant_first() -> None:
    places = FairPlaces(PlaceLimits(total=2, max_waiting=4, retry_after_ms=70))
    assert places.enter_now("heavy")
    waiting = [asyncio.create_task(places.enter("heavy")) for _ in range(2)]
    await settle()
    with pytest.raises(RateLimited) as refused:
        await places.enter("heavy")
    assert refused.value.retry_after_ms == 70
    assert places.enter_now("other")
    waiting += [asyncio.create_task(places.enter("other")) for _ in range(2)]
    await settle()
    with pytest.raises(Overloaded):
        await places.enter("third")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert places.waiting == 0


async def test_who_gives_up_leaves_his_place_to_the_next() -> None:
    places = FairPlaces(PlaceLimits(total=1, max_waiting=4, tenant_share=1))
    assert places.enter_now("a")
    first = asyncio.create_task(places.enter("a"))
    second = asyncio.create_task(places.enter("a"))
    await settle()
    places.leave("a")  # the place is the first one's now
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await asyncio.wait_for(second, 1)
    places.leave("a")
    assert places.held == 0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 5),
    st.floats(0.1, 1),
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.booleans()), min_size=1, max_size=25
    ),
)
def test_whatever_happens_everybody_is_served_and_no_place_is_lost(
    total: int, share: float, requests: list[tuple[str, int, bool]]
) -> None:
    async def main() -> None:
        limits = PlaceLimits(total=total, max_waiting=1000, tenant_share=share)
        places = FairPlaces(limits)
        inside: Counter[str] = Counter()
        served = 0

        async def work(tenant: str, steps: int) -> None:
            nonlocal served
            await places.enter(tenant)
            inside[tenant] += 1
            try:
                assert inside.total() <= total
                assert inside[tenant] <= max(1, int(total * share))
                for _ in range(steps):
                    await asyncio.sleep(0)
                served += 1
            finally:
                inside[tenant] -= 1
                places.leave(tenant)

        jobs: list[asyncio.Task[None]] = []
        cancelled = 0
        for tenant, steps, is_cancelled in requests:
            job = asyncio.create_task(work(tenant, steps))
            jobs.append(job)
            await asyncio.sleep(0)
            if is_cancelled:
                job.cancel()
        outcomes = await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), 5)
        cancelled = sum(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert not [o for o in outcomes if isinstance(o, AssertionError | RateLimited | Overloaded)]
        assert served == len(jobs) - cancelled
        assert (places.held, places.waiting) == (0, 0)

    asyncio.run(main())
