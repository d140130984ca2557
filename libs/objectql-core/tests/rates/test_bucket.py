from __future__ import annotations

import hypothesis
import pytest
from hypothesis import strategies as st

from objectql.rates.bucket import Bucket, Rate

rates = st.builds(Rate, st.floats(0.01, 10_000), st.integers(1, 1000))
pauses = st.lists(st.one_of(st.just(0.0), st.floats(0, 5)), max_size=200)


@hypothesis.given(rates, pauses)
def test_no_more_is_given_than_the_burst_and_what_time_brings(
    rate: Rate, pauses: list[float]
) -> None:
    bucket, now_s = Bucket(), 1000.0
    given_at: list[float] = []
    for pause_s in pauses:
        now_s += pause_s
        if rate.admits(bucket.take(rate, now_s)):
            given_at.append(now_s)
    for index, start_s in enumerate(given_at):
        for count, end_s in enumerate(given_at[index:], 1):
            assert count <= rate.burst + (end_s - start_s) * rate.per_s + 1e-3


@hypothesis.given(rates, pauses)
def test_who_waits_as_told_gets_one(rate: Rate, pauses: list[float]) -> None:
    bucket, now_s = Bucket(), 1000.0
    for pause_s in pauses:
        now_s += pause_s
        taken_s = bucket.take(rate, now_s)
        if not rate.admits(taken_s):
            now_s += rate.wait_s(taken_s) + 1e-6
            assert rate.admits(bucket.take(rate, now_s))


@hypothesis.given(rates, pauses)
def test_what_is_told_to_be_left_is_there(rate: Rate, pauses: list[float]) -> None:
    bucket, now_s = Bucket(), 1000.0
    for pause_s in pauses:
        now_s += pause_s
        bucket.take(rate, now_s)
    told = rate.left(bucket.take(rate, now_s))
    got = [rate.admits(bucket.take(rate, now_s)) for _ in range(told + 1)]
    assert got == [True] * told + [False]


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket, rate = Bucket(), Rate(per_s=10, burst=2)

    def take(now_s: float) -> tuple[bool, int, float]:
        taken_s = bucket.take(rate, now_s)
        return rate.admits(taken_s), rate.left(taken_s), round(rate.wait_s(taken_s), 3)

    assert take(0.0) == (True, 1, 0.0)
    assert take(0.0) == (True, 0, 0.0)
    assert take(0.0) == (False, 0, 0.1)
    assert bucket.full_in_s(0.0) == pytest.approx(0.2)
    assert take(0.1) == (True, 0, 0.0)
    assert take(0.1) == (False, 0, 0.1)
    assert take(5.0) == (True, 1, 0.0)


def test_who_has_taken_too_much_waits_the_longer() -> None:
    bucket, rate = Bucket(), Rate(per_s=10, burst=2)
    bucket.fill_in(1.0, 0.0)
    taken_s = bucket.take(rate, 0.0)
    assert not rate.admits(taken_s)
    assert rate.wait_s(taken_s) == pytest.approx(0.9)
    assert not rate.admits(bucket.take(rate, 0.89))
    assert rate.admits(bucket.take(rate, 0.9))


def test_a_part_of_a_rate_is_never_nothing() -> None:
    assert Rate(1, 1).part(0.1) == Rate(0.1, 1)
    assert Rate(100, 50).part(0.5) == Rate(50, 25)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/s", Rate(100, 100)),
        ("600/m", Rate(10, 600)),
        ("600/m:50", Rate(10, 50)),
        ("36/h:1", Rate(0.01, 1)),
        ("86400/d", Rate(1, 86400)),
        ("off", None),
    ],
)
def test_a_rate_is_read(text: str, rate: Rate | None) -> None:
    assert Rate.read(text) == rate


@pytest.mark.parametrize("text", ["", "100", "0/s", "-1/s", "1/w", "1/s:0", "1/s:", "1.5/s", "on"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        Rate.read(text)
