"""Leader election as a pure function.

Every coordinator keeps one ephemeral, sequential *candidate* node; the lowest one may lead. To lead
it must claim an *epoch*: write its name into the epoch node, provided that the node still has the
version that was seen and that its own candidate node still exists. The node's new version is the
epoch. So an epoch has one leader at most, and a write that checks the version of the epoch node
fails for every leader but the last one, however late it learns that it no longer leads.

`step` does no I/O. The runner performs the returned effects and feeds what it learns back as
events; each carries the session in which it was asked, so late answers of a dead session change
nothing.

Source: ZooKeeper recipes, "Leader Election"; fencing after M. Kleppmann, "How to do distributed
locking", 2016.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec


class Connected(msgspec.Struct, frozen=True):
    """There is a connection; `session` is a new one, or the one before a suspension."""

    session: int


class Suspended(msgspec.Struct, frozen=True):
    """The connection broke. The session may live on, or be expired without us knowing."""


class Lost(msgspec.Struct, frozen=True):
    """The session is over, and with it every node it had made."""


class Enrolled(msgspec.Struct, frozen=True):
    """Our candidate node exists and is called `candidate`."""

    session: int
    candidate: str


class Observed(msgspec.Struct, frozen=True):
    """What stands in ZooKeeper: candidates in order, version and owner of the epoch node."""

    session: int
    candidates: tuple[str, ...]
    epoch: int
    owner: str


class Claimed(msgspec.Struct, frozen=True):
    """The epoch node was written by us and has version `epoch` now."""

    session: int
    epoch: int


class Resigned(msgspec.Struct, frozen=True):
    """An operator wants somebody else to lead."""

    session: int


Event: TypeAlias = Connected | Suspended | Lost | Enrolled | Observed | Claimed | Resigned


class Enrol(msgspec.Struct, frozen=True):
    """Make our candidate node, unless this session has one already."""

    session: int


class Observe(msgspec.Struct, frozen=True):
    """Read candidates and epoch, and watch the candidates."""

    session: int


class Claim(msgspec.Struct, frozen=True):
    """Write `candidate` into the epoch node if its version is `epoch` and the candidate exists."""

    session: int
    candidate: str
    epoch: int


class Lead(msgspec.Struct, frozen=True):
    """We lead, in this epoch."""

    epoch: int


class StepDown(msgspec.Struct, frozen=True):
    """We do not lead any more."""


class Withdraw(msgspec.Struct, frozen=True):
    """Delete our candidate node."""

    session: int
    candidate: str


Effect: TypeAlias = Enrol | Observe | Claim | Lead | StepDown | Withdraw


class Election(msgspec.Struct, frozen=True):
    """What one coordinator knows.

    `leading` is the epoch in which it leads. `leader` is the candidate node of whoever leads as
    far as is known, empty while ZooKeeper is out of reach.
    """

    link: Literal["connected", "suspended", "lost"] = "lost"
    session: int = 0
    candidate: str = ""
    leading: int | None = None
    leader: str = ""
    epoch: int = 0
    candidates: tuple[str, ...] = ()


_replace = msgspec.structs.replace


def step(state: Election, event: Event) -> tuple[Election, tuple[Effect, ...]]:
    """Advance by one event; what belongs to another session changes nothing."""
    match event:
        case Connected(session) if session == state.session and state.candidate:
            # Do not trust the memory: lead again only after seeing our own node.
            return _replace(state, link="connected"), (Observe(session),)
        case Connected(session):
            fresh = _replace(state, link="connected", session=session, candidate="", leader="")
            return _stepped_down(fresh, state, Enrol(session))
        case Suspended():
            return _stepped_down(_replace(state, link="suspended", leader=""), state)
        case Lost():
            return _stepped_down(_replace(state, link="lost", candidate="", leader=""), state)
        case _ if state.link != "connected" or event.session != state.session:
            return state, ()
        case Enrolled(session, candidate):
            return _replace(state, candidate=candidate), (Observe(session),)
        case Claimed(session, epoch) if state.candidate and epoch > state.epoch:
            led = _replace(state, leading=epoch, leader=state.candidate, epoch=epoch)
            return led, (Lead(epoch), Observe(session))
        case Observed():
            return _observed(state, event)
        case Resigned(session) if state.leading is not None:
            # The next candidate is made behind all others; alone it leads again, in a new epoch.
            gone = Withdraw(session, state.candidate)
            return _stepped_down(_replace(state, candidate=""), state, gone, Enrol(session))
        case _:
            return state, ()


def _observed(state: Election, seen: Observed) -> tuple[Election, tuple[Effect, ...]]:
    if seen.epoch < state.epoch:  # an answer older than what is known
        return state, (Observe(seen.session),)
    known = _replace(
        state,
        epoch=seen.epoch,
        candidates=seen.candidates,
        leader=seen.owner if seen.owner in seen.candidates else "",
    )
    if not state.candidate:
        return known, (Enrol(seen.session),)
    if state.candidate not in seen.candidates:
        return _stepped_down(_replace(known, candidate=""), state, Enrol(seen.session))
    if state.candidate != seen.candidates[0]:
        return _stepped_down(known, state)
    if seen.owner != state.candidate:
        claim = Claim(seen.session, state.candidate, seen.epoch)
        return _stepped_down(known, state, claim)
    if state.leading == seen.epoch:
        return known, ()
    return _replace(known, leading=seen.epoch), (Lead(seen.epoch),)


def _stepped_down(
    after: Election, before: Election, *effects: Effect
) -> tuple[Election, tuple[Effect, ...]]:
    """`after` without leadership; stepping down comes before anything else."""
    if before.leading is None:
        return after, effects
    return _replace(after, leading=None), (StepDown(), *effects)
