"""Which parts are orphans: prepared by a kernel that nobody hears any more.

A kernel that is taken for dead and is not loses a transaction, and nothing else: the abort is in the
log before a part is rolled back, so it learns of it when it asks.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from objectql.bus.port import Envelope
from objectql.clock import Clock
from objectql.ids import DataSource
from objectql.txn.names import UNNAMED_KERNEL, PartName, kernel_name
from objectql.wire.codec import decode
from objectql.wire.messages import Heartbeat

log = logging.getLogger(__name__)

SILENT_AFTER_S: Final = 2.5
"""A kernel is heard each second."""

_FORGOTTEN_AFTER_S: Final = 60.0


class Owners:
    """The kernels that are heard, and the parts that are there."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heard_s: dict[str, float] = {}
        self._found_s: dict[DataSource, dict[PartName, float]] = defaultdict(dict)

    async def hear(self, envelope: Envelope) -> None:  # noqa: RUF029 - a listener is a coroutine
        """Take note of a kernel's heartbeat."""
        try:
            beat = decode(Heartbeat, envelope.body)
        except msgspec.MsgspecError as exc:
            log.warning("heartbeat_malformed", extra={"reason": str(exc)})
            return
        now_s = self._clock.monotonic_s()
        self._heard_s = {
            kernel: heard_s
            for kernel, heard_s in self._heard_s.items()
            if now_s - heard_s < _FORGOTTEN_AFTER_S
        }
        self._heard_s[kernel_name(beat.instance, beat.started_ms)] = now_s

    def found(self, source: DataSource, parts: Sequence[PartName]) -> None:
        """Take note of all the parts that are prepared in a source."""
        before, now_s = self._found_s[source], self._clock.monotonic_s()
        self._found_s[source] = {part: before.get(part, now_s) for part in parts}

    def is_orphan(self, part: PartName) -> bool:
        """Whether its kernel was silent for long, all of it after the part was found.

        It was found by way of the bus, so who was heard before that and not after is silent itself.
        Whose kernel is not known is nobody's orphan: its deadline ends it.
        """
        if part.kernel == UNNAMED_KERNEL:
            return False
        now_s = self._clock.monotonic_s()
        found_s = self._found_s[part.source].get(part, now_s)
        heard_s = self._heard_s.get(part.kernel, found_s)
        return now_s - max(found_s, heard_s) > SILENT_AFTER_S
