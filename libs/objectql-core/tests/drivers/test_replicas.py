"""Choosing a replica: never one that is older than the reader allows."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.drivers.protocol import Freshness
from objectql.drivers.sql.replicas import (
    READMIT_AFTER,
    Measured,
    PrimaryLog,
    Standing,
    choose,
)

steps = st.lists(
    st.tuples(
        st.sampled_from(["commit", "sample", "replay", "measure", "restart", "probe", "fail"]),
        st.integers(0, 2),  # which replica
        st.integers(0, 40),  # how far it replays, or back
        st.floats(0.01, 2.0),  # how much time passes
    ),
    max_size=60,
)
wishes = st.builds(
    Freshness,
    max_lag_s=st.none() | st.floats(0, 5),
    position=st.none() | st.integers(0, 60),
)


@given(steps, wishes, st.integers(0, 5))
def test_the_chosen_replica_holds_all_that_the_reader_may_expect(
    history: list[tuple[str, int, int, float]], wanted: Freshness, turn: int
) -> None:
    """A model world: commits with times, replicas that replay, restart and are measured."""
    log = PrimaryLog()
    standings = [Standing(log, max_lag_s=inf) for _ in range(3)]
    replayed = [0, 0, 0]
    asked: list[bool] = [False, False, False]  # measured since the last restart
    commits: list[float] = []  # commit n at position n + 1
    now_s = 0.0
    for what, which, number, passed_s in history:
        now_s += passed_s
        match what:
            case "commit":
                commits.append(now_s)
            case "sample":
                log.note(now_s, len(commits))
            case "replay":
                replayed[which] = min(len(commits), replayed[which] + number)
            case "restart":
                replayed[which] = max(0, replayed[which] - number)
                asked[which] = False
            case "measure":
                standings[which].note(Measured(now_s, replayed[which]))
                asked[which] = True
            case "probe":
                standings[which].passed()
            case _:
                standings[which].eject()
    now_s += 0.01
    # A restart cuts the connections, and the read that follows measures anew.
    known = [s for s, is_known in zip(standings, asked, strict=True) if is_known]
    where = [r for r, is_known in zip(replayed, asked, strict=True) if is_known]
    index = choose(known, wanted, now_s, turn)
    if index is None:
        assert not any(s.may_answer(wanted, now_s) for s in known)
        return
    assert known[index].is_in
    assert wanted.position is None or where[index] >= wanted.position
    if wanted.max_lag_s is not None:
        old = [n for n, at in enumerate(commits) if at < now_s - wanted.max_lag_s]
        assert where[index] >= len(old)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 50)), max_size=40), st.integers(-1, 60))
def test_a_position_covers_no_more_than_its_samples_say(
    samples: list[tuple[float, int]], position: int
) -> None:
    log = PrimaryLog()
    now_s, top = 0.0, 0
    kept: list[tuple[float, int]] = []
    for passed_s, more in samples:
        now_s, top = now_s + passed_s, top + more
        log.note(now_s, top)
        kept.append((now_s, top))
    covered = log.covered_at(position)
    assert covered == -inf or (covered, True) in {(at, p <= position) for at, p in kept}


def test_an_idle_primary_makes_no_replica_old() -> None:
    log = PrimaryLog()
    standing = Standing(log, max_lag_s=60)
    for tick in range(1, 4000):
        log.note(tick / 4, 100)
    standing.note(Measured(1000, 100))
    assert 1000 - standing.covered_at < 1
    assert standing.lag_bytes == 0


def test_a_primary_with_less_log_is_another_one() -> None:
    log = PrimaryLog()
    log.note(1, 100)
    log.note(2, 50)
    assert log.covered_at(60) == 2
    assert log.covered_at(40) == -inf


def test_an_overtaken_measurement_says_nothing() -> None:
    standing = Standing(PrimaryLog(), max_lag_s=60)
    standing.note(Measured(2, 50, "after the restart"))
    standing.note(Measured(1, 90, "before"))
    assert standing.measured.position == 50


def test_an_ejected_replica_is_back_after_good_probes_in_a_row() -> None:
    standing = Standing(PrimaryLog(), max_lag_s=60)
    assert standing.passed()  # the first of a process
    assert standing.eject()
    for _ in range(READMIT_AFTER - 1):
        assert not standing.passed()
    standing.eject()
    for _ in range(READMIT_AFTER - 1):
        assert not standing.passed()
    assert standing.passed()
    assert standing.is_in


@pytest.mark.parametrize("primary_is_away", [True, False])
def test_a_replica_is_too_far_behind_only_if_the_primary_went_on(primary_is_away: bool) -> None:
    log = PrimaryLog()
    standing = Standing(log, max_lag_s=30)
    log.note(1, 100)
    standing.note(Measured(1.1, 100))
    if not primary_is_away:
        log.note(40, 200)
    standing.note(Measured(41, 100))
    assert standing.probed() == (None if primary_is_away else "lag")


def test_reads_go_to_the_replicas_in_turn() -> None:
    log = PrimaryLog()
    standings = [Standing(log, max_lag_s=60) for _ in range(3)]
    for standing in standings:
        standing.passed()
    standings[1].eject()
    chosen: list[int] = []
    turn = 0
    for _ in range(4):
        index = choose(standings, Freshness(), 0, turn)
        assert index is not None
        chosen.append(index)
        turn = index + 1
    assert chosen == [0, 2, 0, 2]
