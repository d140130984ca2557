"""Two-phase commit with presumed abort, as the kernel runs it: a pure function.

`step` is the whole protocol. The runner performs the returned effects **in order** and feeds what
comes of them back as events. A crash may happen after any effect; nothing is kept of a `Txn`, since
the sources keep its parts and the log its decision, and `recovery` ends it by these.

The rule that everything hangs on: until a decision is asked for nobody can commit, so the kernel may
give up by itself; from then on the log alone knows the outcome.

Source: C. Mohan, B. Lindsay, "Efficient commit protocols for the tree of processes model of
distributed transactions", 1983 (presumed abort).
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from objectql.txn.names import Outcome

State: TypeAlias = Literal["active", "in_doubt", "committed", "aborted"]
"""How a transaction stands. `in_doubt`: the outcome is not known, or not everywhere in force."""


class Prepared(msgspec.Struct, frozen=True):
    """The source keeps its part, whatever dies."""

    part: str


class Refused(msgspec.Struct, frozen=True):
    """The part is not prepared, or nobody can say whether it is."""

    part: str


class Decided(msgspec.Struct, frozen=True):
    """What the log says."""

    outcome: Outcome


class Finished(msgspec.Struct, frozen=True):
    """The decision is in force at the source."""

    part: str


class Expired(msgspec.Struct, frozen=True):
    """Whoever asked must be answered now."""


Event: TypeAlias = Prepared | Refused | Decided | Finished | Expired


class Prepare(msgspec.Struct, frozen=True):
    """Let the source prepare its part."""

    part: str


class Ask(msgspec.Struct, frozen=True):
    """Ask for the decision, again and again until there is one."""


class Finish(msgspec.Struct, frozen=True):
    """Let the source end its part; it may have no such part (any more)."""

    part: str
    outcome: Outcome


class Answer(msgspec.Struct, frozen=True):
    """Tell whoever asked."""

    state: State


Effect: TypeAlias = Prepare | Ask | Finish | Answer


class Txn(msgspec.Struct, frozen=True):
    """What the kernel knows of a transaction."""

    parts: frozenset[str]
    prepared: frozenset[str] = frozenset()
    is_asked: bool = False
    outcome: Outcome | None = None
    finished: frozenset[str] = frozenset()
    answered: State | None = None


_replace = msgspec.structs.replace


def begin(parts: frozenset[str]) -> tuple[Txn, tuple[Effect, ...]]:
    """A transaction whose work is done in all `parts` and committed in none."""
    return Txn(parts), tuple(Prepare(part) for part in sorted(parts))


def step(txn: Txn, event: Event) -> tuple[Txn, tuple[Effect, ...]]:
    """Advance by one event; what is repeated or comes too late changes nothing."""
    match event:
        case Prepared(part) if txn.outcome == "abort":
            return txn, (Finish(part, "abort"),)
        case Prepared(part) if txn.outcome is None and not txn.is_asked:
            prepared = txn.prepared | {part}
            if prepared < txn.parts:
                return _replace(txn, prepared=prepared), ()
            return _replace(txn, prepared=prepared, is_asked=True), (Ask(),)
        case Refused() | Expired() if txn.outcome is None and not txn.is_asked:
            return _decided(txn, "abort")
        case Decided(outcome) if txn.outcome is None and txn.is_asked:
            return _decided(txn, outcome)
        case Finished(part) if txn.outcome == "commit":
            finished = txn.finished | {part}
            known = _replace(txn, finished=finished)
            return _answered(known, "committed") if finished == txn.parts else (known, ())
        case Expired():
            return _answered(txn, "in_doubt")
        case _:
            return txn, ()


def _decided(txn: Txn, outcome: Outcome) -> tuple[Txn, tuple[Effect, ...]]:
    known = _replace(txn, outcome=outcome)
    answer: tuple[Effect, ...] = ()
    if outcome == "abort":  # it holds from here on, wherever the parts are
        known, answer = _answered(known, "aborted")
    return known, (*answer, *(Finish(part, outcome) for part in sorted(txn.parts)))


def _answered(txn: Txn, state: State) -> tuple[Txn, tuple[Effect, ...]]:
    """The first answer is the only one; what becomes of `in_doubt` is asked for later."""
    if txn.answered is not None:
        return txn, ()
    return _replace(txn, answered=state), (Answer(state),)
