"""The checkers find nothing in histories of one after the other, and everything that is planted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.histories import bank, list_append, versions
from tests.histories.bank import Transfer
from tests.histories.history import Recorder, read
from tests.histories.list_append import Kind, Transaction, kinds
from tests.histories.versions import Access

LISTS = ("east", "west", "north")


@st.composite
def serial(draw: st.DrawFn) -> list[Transaction]:
    """Transactions one after the other, told in any order; some fail, of some nobody knows."""
    lists: dict[str, tuple[int, ...]] = dict.fromkeys(LISTS, ())
    made: list[Transaction] = []
    next_ = 0
    for number in range(draw(st.integers(0, 8))):
        reads = {name: lists[name] for name in draw(st.sets(st.sampled_from(LISTS)))}
        appends: dict[str, tuple[int, ...]] = {}
        for name in sorted(draw(st.sets(st.sampled_from(LISTS)))):
            count = draw(st.integers(1, 2))
            appends[name] = tuple(range(next_, next_ + count))
            next_ += count
        outcome = draw(st.sampled_from(("ok", "ok", "ok", "fail", "info")))
        if outcome == "ok" or (outcome == "info" and draw(st.booleans())):
            for name, values in appends.items():
                lists[name] += values
        made.append(
            Transaction(f"t{number}", outcome, reads, appends, 2.0 * number, 2.0 * number + 1)
        )
    return draw(st.permutations(made))


@settings(max_examples=60)
@given(serial())
def test_a_serial_history_has_no_anomaly(history: list[Transaction]) -> None:
    assert list_append.check(history) == []


def ok(
    id_: str, reads: dict[str, tuple[int, ...]], appends: dict[str, tuple[int, ...]]
) -> Transaction:
    return Transaction(id_, "ok", reads, appends)


PLANTED: dict[Kind, list[Transaction]] = {
    "G0": [
        ok("a", {}, {"p": (1,), "q": (11,)}),
        ok("b", {}, {"p": (2,), "q": (12,)}),
        ok("r", {"p": (1, 2)}, {}),
        ok("s", {"q": (12, 11)}, {}),
    ],
    "G1a": [
        Transaction("a", "fail", {}, {"p": (1,)}),
        ok("r", {"p": (1,)}, {}),
    ],
    "G1b": [
        ok("a", {}, {"p": (1, 2)}),
        ok("r", {"p": (1,)}, {}),
    ],
    "G1c": [
        ok("a", {"q": (11,)}, {"p": (1,)}),
        ok("b", {"p": (1,)}, {"q": (11,)}),
    ],
    "G-single": [
        ok("a", {}, {"p": (1,), "q": (11,)}),
        ok("r", {"p": (1,), "q": ()}, {}),
        ok("s", {"q": (11,)}, {}),
    ],
    "G2": [
        ok("a", {"p": ()}, {"q": (11,)}),
        ok("b", {"q": ()}, {"p": (1,)}),
        ok("r", {"p": (1,), "q": (11,)}, {}),
    ],
    "lost_update": [
        ok("a", {"p": ()}, {"p": (1,)}),
        ok("b", {"p": ()}, {"p": (2,)}),
        ok("r", {"p": (2,)}, {}),
    ],
    "fractured_read": [
        ok("a", {}, {"p": (1,), "q": (11,)}),
        ok("r", {"p": (1,), "q": ()}, {}),
    ],
    "missing_write": [
        Transaction("a", "ok", {}, {"p": (1,)}, 0, 1),
        Transaction("r", "ok", {"p": ()}, {}, 2, 3),
    ],
    "incompatible_order": [
        ok("a", {}, {"p": (1,)}),
        ok("b", {}, {"p": (2,)}),
        ok("r", {"p": (1, 2)}, {}),
        ok("s", {"p": (2,)}, {}),
    ],
    "repeated_value": [
        ok("a", {}, {"p": (1,)}),
        ok("r", {"p": (1, 1)}, {}),
    ],
    "unwritten_value": [
        ok("r", {"p": (9,)}, {}),
        ok("s", {"p": ()}, {}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", PLANTED)
@settings(max_examples=10)
@given(serial())
def test_a_planted_anomaly_is_found_among_others(kind: Kind, history: list[Transaction]) -> None:
    later = [
        Transaction(
            f"planted {t.id}", t.outcome, t.reads, t.appends, t.began_ns + 1000, t.ended_ns + 1000
        )
        for t in PLANTED[kind]
    ]
    found = list_append.check([*history, *later])
    assert kind in kinds(found)
    assert all(id_.startswith("planted") for anomaly in found for id_ in anomaly.transactions)


def test_what_is_planted_for_each_anomaly_is_all_of_them() -> None:
    assert set(PLANTED) == set(Kind.__args__)


def test_half_a_transaction_that_was_unknown_is_a_fractured_read_too() -> None:
    history = [
        Transaction("a", "info", {}, {"p": (1,), "q": (11,)}),
        ok("r", {"p": (1,), "q": ()}, {}),
    ]
    assert "fractured_read" in kinds(list_append.check(history))


def test_a_write_of_which_nobody_knows_may_be_missing_for_ever() -> None:
    history = [
        Transaction("a", "info", {}, {"p": (1,)}, 0, 1),
        Transaction("r", "ok", {"p": ()}, {}, 2, 3),
    ]
    assert list_append.check(history) == []


@st.composite
def copies(draw: st.DrawFn) -> list[Access]:
    """What is seen of a few records that each are one copy: every access takes effect within itself."""
    points = draw(st.lists(st.tuples(st.sampled_from("xy"), st.booleans()), max_size=15))
    at = dict.fromkeys("xy", 1)
    made: list[Access] = []
    for moment, (record, is_write) in enumerate(points):
        at[record] += is_write
        before = draw(st.floats(0, 5, allow_nan=False))
        after = draw(st.floats(0, 5, allow_nan=False))
        version = at[record]
        made.append(
            Access(record, is_write, version, f"v{version}", moment - before, moment + after)
        )
    return draw(st.permutations(made))


@given(copies())
def test_records_that_are_one_copy_have_no_fault(accesses: list[Access]) -> None:
    assert versions.check(accesses) == []


def write(version: int, began: float, value: str = "") -> Access:
    return Access("r", True, version, value or f"v{version}", began, began + 1)


def seen(version: int, began: float, value: str = "") -> Access:
    return Access("r", False, version, value or f"v{version}", began, began + 1)


@pytest.mark.parametrize(
    ("kind", "planted"),
    [
        ("two_writes", [write(2, 0), write(2, 0)]),
        ("two_values", [write(2, 0), seen(2, 2, "other")]),
        ("went_back", [write(2, 0), write(3, 2), seen(2, 4)]),
        ("went_back", [seen(3, 0), write(3, 2)]),
        ("seen_before_written", [seen(2, 0), write(2, 2)]),
    ],
)
def test_a_record_that_is_not_one_copy_is_found(kind: str, planted: list[Access]) -> None:
    assert kind in {fault.kind for fault in versions.check(planted)}


TRANSFERS = st.lists(
    st.tuples(st.sampled_from(("ok", "fail")), st.permutations("abcd"), st.integers(1, 9)),
    max_size=10,
)


@given(TRANSFERS, st.integers(0, 3))
def test_only_a_bank_that_makes_or_loses_money_is_reported(
    moves: list[tuple[bank.Outcome, list[str], int]], lost: int
) -> None:
    transfers = [
        Transfer(f"t{n}", outcome, names[0], names[1], amount)
        for n, (outcome, names, amount) in enumerate(moves)
    ]
    opened = dict.fromkeys("abcd", 1000)
    left = dict(opened)
    for transfer in transfers:
        if transfer.outcome == "ok":
            left[transfer.source] -= transfer.amount
            left[transfer.target] += transfer.amount
    assert bank.check_transfers(transfers, opened, left) == []
    assert bank.check_reads([left], 4000) == []
    left["a"] -= lost
    kinds_ = {fault.kind for fault in bank.check_transfers(transfers, opened, left)}
    assert kinds_ == ({"balance"} if lost else set())
    assert bool(bank.check_reads([left], 4000)) == bool(lost)


@pytest.mark.parametrize(
    ("left", "kinds_"),
    [
        ({"a": 990, "b": 1010}, {"unresolved"}),
        ({"a": 1000, "b": 1000}, {"unresolved"}),
        ({"a": 990, "b": 1000}, {"unresolved", "half"}),
        ({"a": 1000, "b": 1010}, {"unresolved", "half"}),
    ],
)
def test_a_transfer_of_which_nobody_knows_is_whole_or_not_there(
    left: dict[str, int], kinds_: set[str]
) -> None:
    transfers = [Transfer("t", "info", "a", "b", 10)]
    found = bank.check_transfers(transfers, dict.fromkeys("ab", 1000), left)
    assert {fault.kind for fault in found} == kinds_


def test_an_overdrawn_account_is_found() -> None:
    assert [fault.kind for fault in bank.check_reads([{"a": -1, "b": 1}], 0)] == ["overdrawn"]


def test_a_recorded_history_is_read_back(tmp_path: Path) -> None:
    with Recorder(tmp_path / "history.jsonl") as recorder:
        first = recorder.invoke("one", "transfer", {"amount": 5})
        second = recorder.invoke("two", "read")
        recorder.invoke("three", "read")
        recorder.end("two", second, "fail", "read", "refused")
        recorder.end("one", first, "ok", "transfer", {"version": 2})
    history = read(recorder.path)
    assert [(o.process, o.outcome, o.answer) for o in history] == [
        ("one", "ok", {"version": 2}),
        ("two", "fail", "refused"),
        ("three", "info", None),
    ]
    assert history[0].began_ns < history[1].ended_ns < history[0].ended_ns
