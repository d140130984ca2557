"""Named places where a test may kill the process, to prove that nothing is lost there.

Armed by a setting, never by a request. `hit` costs one set lookup where nothing is armed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

from objectql.errors import InvalidRequest

BEFORE_COMMIT = "before_commit"
AFTER_COMMIT = "after_commit"
BEFORE_PREPARE = "before_prepare"
AFTER_PREPARE = "after_prepare"
BEFORE_DECISION = "before_decision"
AFTER_RECORD = "after_record"
AFTER_DECISION = "after_decision"
AFTER_FIRST_COMMIT = "after_first_commit"
BEFORE_PUBLISH = "before_publish"
AFTER_PUBLISH = "after_publish"
BEFORE_SEAL = "before_seal"
AFTER_SEAL = "after_seal"
BEFORE_PURGE = "before_purge"
AFTER_PURGE = "after_purge"
AFTER_DELIVERY = "after_delivery"
KNOWN = frozenset(
    {
        *(BEFORE_COMMIT, AFTER_COMMIT, BEFORE_PUBLISH, AFTER_PUBLISH),
        *(BEFORE_SEAL, AFTER_SEAL, BEFORE_PURGE, AFTER_PURGE),
        *(BEFORE_PREPARE, AFTER_PREPARE, AFTER_DECISION, AFTER_FIRST_COMMIT),
        *(BEFORE_DECISION, AFTER_RECORD),
        AFTER_DELIVERY,
    }
)

_armed: set[str] = set()


def arm(names: Iterable[str]) -> None:
    """Make the process die (SIGKILL) at the first `hit` of one of `names`; replaces what was armed.

    Raises:
        InvalidRequest: a name that no code hits.
    """
    wanted = set(names)
    unknown = sorted(wanted - KNOWN)
    if unknown:
        raise InvalidRequest(
            reason=f"unknown failpoint {', '.join(unknown)}; known: {', '.join(sorted(KNOWN))}"
        )
    _armed.clear()
    _armed.update(wanted)


def is_armed(name: str) -> bool:
    """Whether `hit` would end the process."""
    return name in _armed


def hit(name: str) -> None:
    """Die here if `name` is armed."""
    if name in _armed:
        os.kill(os.getpid(), signal.SIGKILL)
