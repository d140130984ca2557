"""Compares what a subscriber heard with the truth, which is the outbox.

The truth is all changes of one object in the order of the outbox, where it holds per record. What
a subscriber ought to hear of a record follows from the images alone, by a predicate and a
projection that a test writes down by itself (`View`), not by the code that is tested. Heard must be
an end of that: nothing missing behind its beginning, nothing twice, nothing else. Where the
beginning lies is told by the snapshot, or by the position of the outbox at which the client
learned that it was subscribed.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

Record: TypeAlias = Mapping[str, Any]

FaultKind: TypeAlias = Literal[
    "gap", "duplicate", "disorder", "unauthorised", "torn batch", "cursor", "state"
]


class Change(NamedTuple):
    """One row of the outbox; `before` and `after` are whole images."""

    position: int
    record: str
    kind: str
    before: Record | None
    after: Record | None
    batch: str = ""


@dataclass(frozen=True)
class View:
    """What a subscriber may and wants to see: which records, and what of them."""

    sees: Callable[[Record], bool]
    shows: Callable[[Record], Record]

    def telling(self, change: Change) -> Telling | None:
        """What is to be told of a change; None: nothing."""
        was = change.before is not None and self.sees(change.before)
        if change.after is not None and self.sees(change.after):
            match = "entered" if change.kind == "updated" and not was else None
            return Telling(change.kind, match, dict(self.shows(change.after)))
        if was:
            return Telling("deleted", None if change.kind == "deleted" else "left", None)
        return None


class Telling(NamedTuple):
    """One event as a subscriber sees it."""

    kind: str
    match: str | None
    data: dict[str, Any] | None


class Fault(NamedTuple):
    """What is wrong, with the record it is about."""

    kind: FaultKind
    record: str
    detail: str


@dataclass
class Heard:
    """What one subscriber heard from one `subscribed` on, over however many sockets.

    `must_from` is a position of the outbox: what was written behind it has to be told. `is_cut`
    says that a `resync` ended it, so that nothing is known of what followed.
    """

    must_from: int = 0
    items: list[dict[str, Any]] | None = None
    frames: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    is_cut: bool = False

    def events(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """All events in the order they came, with the number of their frame."""
        for number, frame in enumerate(self.frames):
            for event in frame["events"] if frame["type"] == "batch" else (frame,):
                yield number, event

    def state(self) -> dict[str, Any]:
        """The records that the subscriber believes there are; there was a snapshot."""
        state = {item["id"]: item for item in self.items or ()}
        for _, event in self.events():
            id_ = record_of(event)
            if event["type"] == "deleted":
                state.pop(id_, None)
            else:
                state[id_] = event["data"]
        return state


def record_of(event: Mapping[str, Any]) -> str:
    """The id of the record that an event is about."""
    return event["id"] if "id" in event else event["data"]["id"]


def faults(
    heard: Heard, truth: Sequence[Change], view: View, *, now: Iterable[Record] | None = None
) -> list[Fault]:
    """Everything that is wrong with what was heard; `now` is what a fresh query answers."""
    wanted: defaultdict[str, list[tuple[Change, Telling]]] = defaultdict(list)
    for change in truth:
        telling = view.telling(change)
        if telling is not None:
            wanted[change.record].append((change, telling))
    told: defaultdict[str, list[tuple[int, Telling]]] = defaultdict(list)
    for number, event in heard.events():
        told[record_of(event)].append(
            (number, Telling(event["type"], event.get("match"), event.get("data")))
        )
    items = None if heard.items is None else {item["id"]: item for item in heard.items}
    found: list[Fault] = []
    frame_of: dict[int, int] = {}
    for record in sorted({*wanted, *told, *(items or ())}):
        beginnings = _beginnings(wanted[record], heard.must_from, items, record)
        if heard.is_cut:  # it ends where the record was heard of last
            ends = max(beginnings, default=0) + len(told[record])
            wanted[record] = wanted[record][:ends]
        found += _compare(record, wanted[record], told[record], beginnings, frame_of)
    found += _torn(truth, frame_of)
    found += _cursors(heard)
    if now is not None and items is not None and not heard.is_cut:
        found += _state(heard.state(), {record["id"]: dict(record) for record in now})
    return found


def _beginnings(
    wanted: Sequence[tuple[Change, Telling]],
    must_from: int,
    items: Mapping[str, Any] | None,
    record: str,
) -> list[int]:
    """From which of the wanted events on the subscriber may begin to be told."""
    first = next((n for n, (c, _) in enumerate(wanted) if c.position > must_from), len(wanted))
    if items is None:
        return list(range(first, -1, -1))
    item = items.get(record)
    states = [None, *(telling.data for _, telling in wanted[:first])]
    return [n for n, state in reversed(list(enumerate(states))) if state == item]


def _compare(
    record: str,
    wanted: Sequence[tuple[Change, Telling]],
    told: Sequence[tuple[int, Telling]],
    beginnings: Sequence[int],
    frame_of: dict[int, int],
) -> list[Fault]:
    """What is wrong with one record; fills in which frame told of which change."""
    heard = [telling for _, telling in told]
    for begin in beginnings:
        if [telling for _, telling in wanted[begin:]] == heard:
            for (change, _), (number, _) in zip(wanted[begin:], told, strict=True):
                frame_of[change.position] = number
            return []
    if not beginnings:
        return [Fault("state", record, "the snapshot has it as it never was")]
    return _named(record, [telling for _, telling in wanted], heard, beginnings)


def _named(
    record: str, wanted: Sequence[Telling], heard: Sequence[Telling], beginnings: Sequence[int]
) -> list[Fault]:
    """What heard is, which is not what was wanted: event by event."""
    found: list[Fault] = []
    last: int | None = None
    seen: set[int] = set()
    for telling in heard:
        places = [n for n, each in enumerate(wanted) if each == telling]
        if not places:
            found.append(Fault("unauthorised", record, f"nobody was to be told {telling}"))
            continue
        floor = -1 if last is None else last
        ahead = [n for n in places if n > floor]
        at = ahead[0] if ahead else places[-1]
        if at in seen:
            found.append(Fault("duplicate", record, f"{telling} came twice"))
            continue
        seen.add(at)
        if not ahead:
            found.append(Fault("disorder", record, f"{telling} came after {wanted[floor]}"))
            continue
        begin = max(beginnings) if last is None else last + 1
        if at > begin:
            found.append(Fault("gap", record, f"{at - begin} before {telling}"))
        elif last is None and at not in beginnings:
            found.append(Fault("duplicate", record, f"{telling} is in the snapshot"))
        last = at
    end = max(beginnings) if last is None else last + 1
    if end < len(wanted):
        found.append(Fault("gap", record, f"{len(wanted) - end} at the end"))
    return found or [Fault("disorder", record, "not what was wanted")]


def _torn(truth: Sequence[Change], frame_of: Mapping[int, int]) -> Iterator[Fault]:
    """Commits of which a subscriber was told in several frames."""
    frames: defaultdict[str, set[int]] = defaultdict(set)
    for change in truth:
        if change.batch and change.position in frame_of:
            frames[change.batch].add(frame_of[change.position])
    for change in truth:
        if len(frames.pop(change.batch, ())) > 1:
            yield Fault("torn batch", change.record, f"the commit {change.batch}")


def _cursors(heard: Heard) -> Iterator[Fault]:
    """Frames that leave the client where another one did."""
    counts = Counter(frame["cursor"] for frame in heard.frames)
    for number, event in heard.events():
        frame = heard.frames[number]
        if event["cursor"] != frame["cursor"] or counts[frame["cursor"]] > 1:
            yield Fault("cursor", record_of(event), "the cursor is another frame's")


def _state(believed: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Fault]:
    for record in sorted({*believed, *now}):
        if believed.get(record) != now.get(record):
            told = json.dumps([believed.get(record), now.get(record)])
            yield Fault("state", record, f"believed and asked for: {told}")
