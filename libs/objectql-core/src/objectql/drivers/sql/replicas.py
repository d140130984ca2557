"""Which replica may answer a read: decisions from what was measured, without I/O.

Positions are bytes of write-ahead log, times are seconds of the monotonic clock.

How old a replica's data are is measured without comparing clocks and without the time of its last
replayed commit, which stands still while nothing is written. The primary's position is sampled:
all that had been committed *before* a sample was asked for lies at or below its position. A replica
that has replayed up to some sample therefore holds everything committed before that sample's time,
and no answer of it is older than that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import inf
from typing import Final, Literal, NamedTuple, TypeAlias

from objectql.drivers.protocol import Freshness

WINDOW_S: Final = 600.0
"""How long samples are kept; a replica further behind is as old as anything."""

LEAST_GAP_S: Final = 0.05
"""Samples closer together would not make an age much more exact."""

READMIT_AFTER: Final = 3
"""Successful probes in a row that bring an ejected replica back."""

EjectionReason: TypeAlias = Literal["unreachable", "lost", "promoted", "lag"]


class Measured(NamedTuple):
    """What a server said of itself. `at_s` is from before the question was sent.

    `life` tells one run of the server from another: after a restart a replica may have replayed
    less than before, so nothing measured earlier holds any more.
    """

    at_s: float
    position: int
    life: str = ""
    is_standby: bool = True


class PrimaryLog:
    """Samples of the primary's position."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._positions: list[int] = []

    def note(self, at_s: float, position: int) -> None:
        """Take in a sample: all committed before `at_s` lies at or below `position`."""
        if self._times and at_s <= self._times[-1]:
            return
        if self._positions and position < self._positions[-1]:  # another primary: begin anew
            self._times.clear()
            self._positions.clear()
        if self._positions and position == self._positions[-1]:
            self._times[-1] = at_s
            return
        if self._times and at_s - self._times[-1] < LEAST_GAP_S:
            return
        self._times.append(at_s)
        self._positions.append(position)
        old = bisect_right(self._times, at_s - WINDOW_S)
        if old > len(self._times) // 2:
            del self._times[:old], self._positions[:old]

    def covered_at(self, position: int) -> float:
        """A server at `position` holds everything committed before this time."""
        count = bisect_right(self._positions, position)
        return self._times[count - 1] if count else -inf

    @property
    def latest(self) -> tuple[float, int] | None:
        """The newest sample."""
        return (self._times[-1], self._positions[-1]) if self._times else None


class Standing:
    """What is known of one replica, and whether it is in use."""

    def __init__(self, log: PrimaryLog, *, max_lag_s: float) -> None:
        self._log = log
        self._max_lag_s = max_lag_s
        self._passed = READMIT_AFTER - 1  # the first probe of a process is enough
        self.is_in = False
        self.measured = Measured(-inf, 0)
        self.covered_at = -inf
        """It holds everything committed before."""

    def note(self, measured: Measured) -> None:
        """Take in a measurement; one that a newer one has overtaken says nothing."""
        if measured.at_s < self.measured.at_s:
            return
        self.measured = measured
        self.covered_at = self._log.covered_at(measured.position)

    def probed(self) -> EjectionReason | None:
        """Judge the newest measurement: why the replica is not to be used, if so."""
        if not self.measured.is_standby:
            return "promoted"
        return "lag" if self.known_lag_s > self._max_lag_s else None

    def passed(self) -> bool:
        """Count a good probe; whether it brings the replica back in."""
        self._passed += 1
        if self.is_in or self._passed < READMIT_AFTER:
            return False
        self.is_in = True
        return True

    def eject(self) -> bool:
        """Take the replica out of use; whether it was in."""
        was_in, self.is_in, self._passed = self.is_in, False, 0
        return was_in

    @property
    def known_lag_s(self) -> float:
        """The age when the primary was last seen. While it is away no replica grows older by this.

        That keeps the replicas in use when they are all that is left.
        """
        latest = self._log.latest
        return 0.0 if latest is None else latest[0] - self.covered_at

    @property
    def lag_bytes(self) -> int:
        """How much log it still has to replay."""
        latest = self._log.latest
        return 0 if latest is None else max(0, latest[1] - self.measured.position)

    def has(self, wanted: Freshness) -> bool:
        """Whether it has come as far as the reader's token."""
        return wanted.position is None or self.measured.position >= wanted.position

    def may_answer(self, wanted: Freshness, now_s: float) -> bool:
        """Whether an answer given from now on is as fresh as wanted."""
        return (
            self.is_in
            and self.has(wanted)
            and (wanted.max_lag_s is None or now_s - self.covered_at <= wanted.max_lag_s)
        )


def choose(standings: Sequence[Standing], wanted: Freshness, now_s: float, turn: int) -> int | None:
    """The index of the replica that answers: the first one that may, from `turn` on in a circle."""
    count = len(standings)
    for step in range(count):
        index = (turn + step) % count
        if standings[index].may_answer(wanted, now_s):
            return index
    return None
