"""How the leader decides, and ends what a dead kernel or a source that was away left behind.

A decision is written once and before anybody hears of it. A commit is decided only when a kernel
asks for it in time. Everything undecided is presumed to be aborted, and that is written down too
before the first part is rolled back, so that a question that was long on its way cannot bring about
a commit. So a decision to abort is kept for longer than any question can take; one to commit only
until all parts have committed, of which their marks are the proof.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from objectql.txn.names import Outcome, PartName

GRACE_MS: Final = 1_000
"""How long past its deadline a part is left alone, for a kernel that is slow to give up by itself.
By the leader's clock nothing can be decided for it any more."""

KEEP_ABORTS_MS: Final = 3_600_000
"""How long past the deadline a decision to abort is kept; no clock is wrong by so much."""

Cause: TypeAlias = Literal["orphaned", "leaderless", "late"]
"""Why a part is given up: its kernel is silent, its leader is gone, its deadline is over."""


def decide(recorded: Outcome | None, *, deadline_ms: int, now_ms: int) -> Outcome | None:
    """The answer to a kernel whose parts are all prepared; None: it asks too late.

    A `commit` that is not recorded must be written down before it is answered. Nothing is decided
    for a question that comes too late: the record may have been there, and have been forgotten.
    """
    if recorded is not None:
        return recorded
    return "commit" if now_ms < deadline_ms else None


def recover(
    part: PartName, recorded: Outcome | None, *, epoch: int, now_ms: int, is_orphan: bool = False
) -> Outcome | Cause | None:
    """What the leader of `epoch` does with a part that it finds prepared.

    An outcome is recorded: the part is ended by it. A cause says why it is given up: the abort is
    written down first. None: it is at work, as parts of this epoch are that are in time, unless their
    kernel seems to be dead (`is_orphan`). One of an earlier epoch may have asked a leader that is
    gone, and would have to wait for its deadline; a kernel that is still there asks again, and whoever
    writes first has decided.
    """
    if recorded is not None:
        return recorded
    if is_orphan:
        return "orphaned"
    if part.epoch < epoch:
        return "leaderless"
    return "late" if now_ms > part.deadline_ms + GRACE_MS else None


def is_forgettable(outcome: Outcome, *, is_finished: bool, deadline_ms: int, now_ms: int) -> bool:
    """Whether a decision may be deleted; `is_finished` says that all parts have ended by it."""
    if outcome == "commit":
        return is_finished
    return now_ms > deadline_ms + KEEP_ABORTS_MS
