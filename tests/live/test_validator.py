"""The validator finds each kind of fault that is planted in a stream, and none in a right one."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.live.validator import Change, FaultKind, Heard, Record, View, faults

VIEW = View(
    sees=lambda record: record["topic"] == "mine",
    shows=lambda record: {"id": record["id"], "version": record["version"]},
)


def image(id_: str, version: int, topic: str = "mine") -> Record:
    return {"id": id_, "version": version, "topic": topic, "secret": "s"}


def history(rng: random.Random, length: int) -> list[Change]:
    """Changes of some records, some of them in one commit."""
    now: dict[str, Record] = {}
    found: list[Change] = []
    for position in range(1, length + 1):
        id_ = rng.choice("abcd")
        before = now.get(id_)
        topic = rng.choice(("mine", "mine", "theirs"))
        # Two changes side by side, of different records, are one commit where the first may be.
        batch = f"b{position // 2}" if rng.random() < 0.3 else ""
        if before is None:
            now[id_] = image(id_, position, topic)
            found.append(Change(position, id_, "created", None, now[id_], batch))
        elif rng.random() < 0.2:
            del now[id_]
            found.append(Change(position, id_, "deleted", before, None, batch))
        else:
            now[id_] = image(id_, position, topic)
            found.append(Change(position, id_, "updated", before, now[id_], batch))
    return found


def told(truth: list[Change], *, after: int, snapshot: bool) -> Heard:
    """A faultless stream that begins behind the position `after`."""
    heard = Heard(must_from=after)
    if snapshot:
        state: dict[str, Record] = {}
        for change in truth:
            if change.position <= after:
                state.pop(change.record, None)
                if change.after is not None and VIEW.sees(change.after):
                    state[change.record] = change.after
        heard.items = [dict(VIEW.shows(record)) for record in state.values()]
    frames: dict[str, dict[str, Any]] = {}
    for change in truth:
        telling = VIEW.telling(change)
        if telling is None or change.position <= after:
            continue
        key = change.batch or str(change.position)
        event: dict[str, Any] = {"type": telling.kind, "object": "note", "cursor": key}
        event |= {} if telling.kind == "created" else {"id": change.record}
        event |= {} if telling.match is None else {"match": telling.match}
        event |= {} if telling.data is None else {"data": telling.data}
        frame = frames.get(key)
        if frame is None:
            frames[key] = event if not change.batch else {"type": "batch", "events": [event]}
            frames[key]["cursor"] = key
            heard.frames.append(frames[key])
        else:
            frame["events"].append(event)
    return heard


def now(truth: list[Change]) -> list[Record]:
    state = {change.record: change.after for change in truth}
    return [VIEW.shows(record) for record in state.values() if record and VIEW.sees(record)]


@given(seed=st.integers(0, 10_000), after=st.integers(0, 20), snapshot=st.booleans())
def test_a_faultless_stream_has_no_faults(seed: int, after: int, snapshot: bool) -> None:
    truth = history(random.Random(seed), 30)
    halved = {c.batch for c in truth if c.position <= after} & {
        c.batch for c in truth if c.position > after
    }
    if halved - {""}:
        after -= 1  # no subscription begins within a commit
    heard = told(truth, after=after, snapshot=snapshot)
    assert faults(heard, truth, VIEW, now=now(truth)) == []


def plain() -> tuple[list[Change], Heard]:
    """Two records, changed in turn, and a stream that is right."""
    truth = [
        Change(1, "a", "created", None, image("a", 1)),
        Change(2, "b", "created", None, image("b", 2, "theirs")),
        *(Change(n, "a", "updated", image("a", n - 1), image("a", n)) for n in range(3, 6)),
        Change(6, "b", "updated", image("b", 2, "theirs"), image("b", 6), "six"),
        Change(7, "c", "created", None, image("c", 7), "six"),
        Change(8, "b", "deleted", image("b", 6), None),
    ]
    truth[2] = truth[2]._replace(before=image("a", 1))
    return truth, told(truth, after=1, snapshot=True)


def kinds(heard: Heard, truth: list[Change]) -> set[FaultKind]:
    return {fault.kind for fault in faults(heard, truth, VIEW, now=now(truth))}


def test_the_plain_stream_is_right() -> None:
    truth, heard = plain()
    assert len(heard.frames) == 5
    assert faults(heard, truth, VIEW, now=now(truth)) == []


@pytest.mark.parametrize("number", range(5))
def test_a_frame_that_is_missing_is_a_gap(number: int) -> None:
    truth, heard = plain()
    del heard.frames[number]
    assert "gap" in kinds(heard, truth)


def test_silence_is_a_gap() -> None:
    truth, heard = plain()
    heard.frames, heard.items = [], None
    assert "gap" in kinds(heard, truth)


@pytest.mark.parametrize("number", range(5))
def test_a_frame_that_comes_again_is_a_duplicate(number: int) -> None:
    truth, heard = plain()
    again = copy.deepcopy(heard.frames[number])
    for event in (again, *again.get("events", ())):
        event["cursor"] = "another"
    heard.frames.append(again)
    assert "duplicate" in kinds(heard, truth)


def test_a_record_that_came_and_went_unheard_is_a_gap() -> None:
    truth, heard = plain()
    truth[5] = truth[5]._replace(batch="")
    truth[6] = truth[6]._replace(batch="")
    heard = told(truth, after=1, snapshot=True)
    heard.frames = [frame for frame in heard.frames if frame.get("id") != "b"]
    assert "gap" in kinds(heard, truth)


def test_a_stream_that_was_cut_may_end_early_and_lacks_nothing_before() -> None:
    truth, heard = plain()
    heard.is_cut = True
    del heard.frames[3:]
    assert kinds(heard, truth) == set()
    del heard.frames[1]
    assert "gap" in kinds(heard, truth)


def test_an_event_that_the_snapshot_has_is_a_duplicate() -> None:
    truth, heard = plain()
    heard.items, heard.must_from = [{"id": "a", "version": 3}], 3
    assert "duplicate" in kinds(heard, truth)


def test_events_of_a_record_that_change_places_are_in_disorder() -> None:
    truth, heard = plain()
    heard.frames[0], heard.frames[1] = heard.frames[1], heard.frames[0]
    assert "disorder" in kinds(heard, truth)


def test_a_record_that_is_not_seen_is_unauthorised() -> None:
    truth, heard = plain()
    event = {"type": "created", "data": {"id": "b", "version": 2}, "cursor": "x"}
    heard.frames.insert(0, event)
    assert "unauthorised" in kinds(heard, truth)


def test_a_field_that_is_not_shown_is_unauthorised() -> None:
    truth, heard = plain()
    heard.frames[0]["data"] = dict(heard.frames[0]["data"]) | {"secret": "s"}
    assert "unauthorised" in kinds(heard, truth)


def test_the_image_of_a_record_that_has_left_is_unauthorised() -> None:
    truth, heard = plain()
    heard.frames[-1]["data"] = {"id": "b", "version": 6}
    assert "unauthorised" in kinds(heard, truth)


def test_a_commit_in_two_frames_is_torn() -> None:
    truth, heard = plain()
    at = next(n for n, frame in enumerate(heard.frames) if frame["type"] == "batch")
    first, second = heard.frames[at]["events"]
    second["cursor"] = "other"
    heard.frames[at : at + 1] = [first, second]
    assert kinds(heard, truth) == {"torn batch"}


def test_frames_with_one_cursor_are_told_of() -> None:
    truth, heard = plain()
    heard.frames[1]["cursor"] = heard.frames[0]["cursor"]
    assert kinds(heard, truth) == {"cursor"}


def test_a_snapshot_that_never_was_is_told_of() -> None:
    truth, heard = plain()
    heard.items = [{"id": "a", "version": 99}]
    assert "state" in kinds(heard, truth)


def test_a_query_that_answers_something_else_is_told_of() -> None:
    truth, heard = plain()
    assert {f.kind for f in faults(heard, truth, VIEW, now=[])} == {"state"}
