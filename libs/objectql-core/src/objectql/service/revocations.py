"""What is void, as a process knows it: one look-up per thing that a caller's right depends on.

Pure: `service.identity` feeds it. A token depends on its tenant, its user and, where it names them,
its session and itself (`jti`); an API key on its tenant, its user and itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeAlias

from objectql.wire.identity import RevokedEntry

Subject: TypeAlias = tuple[str, str, str]
"""Kind, tenant, id."""

Evict: TypeAlias = Callable[[frozenset[Subject]], None]

ALWAYS_MS = 2.0**53 - 1
"""The time of issue of what is looked up anew and again: only what is void for good voids it."""


class Dependence(NamedTuple):
    """On what a caller's right depends, and since when (Unix ms) there is such a right."""

    subjects: tuple[Subject, ...]
    issued_ms: float


def dependence(
    tenant: str, issued_ms: float, *, user: str, session: str = "", token: str = "", key: str = ""
) -> Dependence:
    """The dependence of a token or key."""
    named = (("user", user), ("session", session), ("token", token), ("key", key))
    subjects = tuple((kind, tenant, id_) for kind, id_ in named if id_)
    return Dependence((("tenant", tenant, ""), *subjects), issued_ms)


class Revocations:
    """Everything that is known to be void. `changes` counts what was learnt."""

    def __init__(self) -> None:
        self._before: dict[Subject, tuple[int, int]] = {}
        self._evicts: list[Evict] = []
        self.changes = 0

    def on_change(self, evict: Evict) -> None:
        """Tell `evict` what any remembered verdict must not depend on any more."""
        self._evicts.append(evict)

    def learn(self, entries: Iterable[RevokedEntry]) -> None:
        """Take in what is void; a later word on a subject replaces an earlier one."""
        news = {(one.kind, one.tenant, one.id): (one.before_ms, one.until_ms) for one in entries}
        if not news:
            return
        self._before |= news
        self.changes += 1
        subjects = frozenset(news)
        for evict in self._evicts:
            evict(subjects)

    def replace_all(self, entries: Iterable[RevokedEntry]) -> None:
        """Forget everything and learn; for a store that was put back to an earlier state."""
        self._before.clear()
        self.learn(entries)

    def forget_expired(self, now_ms: int) -> None:
        """Drop what has nothing left to void."""
        self._before = {s: times for s, times in self._before.items() if times[1] > now_ms}

    def allow(self, right: Dependence) -> bool:
        """Whether nothing that `right` depends on is void."""
        known = self._before
        for subject in right.subjects:
            times = known.get(subject)
            if times is not None and right.issued_ms <= times[0]:
                return False
        return True
