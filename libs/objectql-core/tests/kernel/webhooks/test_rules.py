"""What follows from an answer."""

from __future__ import annotations

import random
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.kernel.webhooks.rules import (
    GONE,
    REFUSES_MESSAGE,
    Answer,
    Circuit,
    Pauses,
    Verdict,
    judge,
    pause_s,
    retry_after_s,
)

PAUSES = Pauses(first_s=2.0, longest_s=60.0)
NOW_S = 1_800_000_000.0


def verdict(answer: Answer, attempts: int = 1, max_attempts: int = 5) -> Verdict:
    return judge(
        answer, attempts, max_attempts, pauses=PAUSES, now_s=NOW_S, random=random.Random(1).random
    )


@given(st.integers(200, 299), st.integers(1, 50))
def test_success_is_done(status: int, attempts: int) -> None:
    assert verdict(Answer(status), attempts).is_done


@given(st.integers(100, 599), st.integers(1, 10))
def test_every_other_answer_is_repeated_or_ends(status: int, attempts: int) -> None:
    found = verdict(Answer(status), attempts)
    if 200 <= status < 300:
        return
    assert not found.is_done
    is_final = attempts >= 5 or status in REFUSES_MESSAGE
    assert (found.retry_s is None) == (is_final and status != GONE)
    assert found.is_gone == (status == GONE)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_pause_lies_below_its_doubling_bound(failures: int, chance: float) -> None:
    bound_s = min(2.0 * 2.0 ** min(failures - 1, 40), 60.0)
    assert 0 <= pause_s(failures, PAUSES, lambda: chance) <= bound_s


def test_pauses_are_spread_over_all_of_the_bound() -> None:
    chance = random.Random(7).random
    pauses = [pause_s(3, PAUSES, chance) for _ in range(2000)]
    assert min(pauses) < 0.5
    assert max(pauses) > 7.5
    assert 3.5 < sum(pauses) / len(pauses) < 4.5


@pytest.mark.parametrize("status", [429, 503])
def test_endpoint_that_says_when_is_asked_then_and_not_before(status: int) -> None:
    found = verdict(Answer(status, retry_after="7"))
    assert (found.retry_s, found.holds_all) == (7.0, True)
    assert verdict(Answer(status, retry_after="999999999")).retry_s == 60.0
    date = verdict(Answer(status, retry_after=formatdate(NOW_S + 9, usegmt=True)))
    assert date.retry_s == pytest.approx(9.0)
    assert not verdict(Answer(status, retry_after="soon")).holds_all
    assert not verdict(Answer(500, retry_after="7")).holds_all


@given(st.text(max_size=60))
def test_any_text_is_a_time_or_none(text: str) -> None:
    found = retry_after_s(text, NOW_S)
    assert found is None or found >= 0


def test_reason_tells_what_the_operator_needs() -> None:
    assert verdict(Answer(500, excerpt="oh no")).reason == "500 oh no"
    assert verdict(Answer(None, error="ConnectError: refused")).reason == "ConnectError: refused"


def test_circuit_lets_one_attempt_through_after_five_failures() -> None:
    circuit = Circuit(PAUSES, lambda: 0.5)
    for _ in range(4):
        circuit.failed(0.0)
    assert (circuit.is_broken, circuit.wait_s(0.0)) == (False, 0.0)
    circuit.failed(10.0)
    assert (circuit.is_broken, circuit.wait_s(10.0)) == (True, 1.0)
    circuit.failed(11.0)
    assert circuit.wait_s(11.0) == 2.0
    for _ in range(60):
        circuit.failed(13.0)
    assert circuit.wait_s(13.0) == 30.0
    circuit.succeeded()
    assert (circuit.is_broken, circuit.wait_s(13.0)) == (False, 0.0)
    circuit.hold(13.0, 5.0)
    assert circuit.wait_s(15.0) == 3.0
