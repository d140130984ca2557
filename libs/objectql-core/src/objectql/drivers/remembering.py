"""What is kept under an idempotency key when `Driver.write` is given one."""

from __future__ import annotations

from collections.abc import Sequence

from objectql.drivers.protocol import WriteOutcome


def reply_of(outcomes: Sequence[WriteOutcome]) -> bytes | None:
    """What is remembered for these outcomes; None when nothing is."""
    if len(outcomes) != 1:
        return b""
    outcome = outcomes[0]
    if outcome.status in {"missing", "stale"}:
        return None
    return outcome.after or outcome.before
