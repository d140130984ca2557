"""A flood of refusals cannot fill the log, and the log says how many it left out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.clock import SystemClock
from objectql.drivers.security_log import EVERYTHING, SecurityEntry, SecurityFilter, SecurityKind
from objectql.errors import Unavailable
from objectql.ids import TenantId
from objectql.kernel.audit.recorder import Recorder, RecorderLimits


class HandClock(SystemClock):
    """Stands still unless it is moved."""

    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def advance(self, by_s: float) -> None:
        self.now_s += by_s


LIMITS = RecorderLimits(window_s=60, per_principal=3, per_tenant=5)


class Log:
    """Keeps what is recorded, while it can be reached."""

    def __init__(self) -> None:
        self.entries: list[SecurityEntry] = []
        self.is_away = False

    async def record(self, entries: Sequence[SecurityEntry]) -> None:
        if self.is_away:
            raise Unavailable(what="the store")
        self.entries += entries

    async def page(
        self,
        tenant: TenantId,
        which: SecurityFilter = EVERYTHING,
        *,
        limit: int,
        before: int | None = None,
    ) -> tuple[tuple[int, SecurityEntry], ...]:
        raise NotImplementedError

    def told(self) -> list[tuple[str, str]]:
        return [(entry.tenant, entry.kind) for entry in self.entries]


def denied(tenant: str = "acme", kind: SecurityKind = "access_denied") -> SecurityEntry:
    return SecurityEntry(tenant=tenant, kind=kind, at="", actor="eve")


async def test_one_principal_is_told_so_often_and_the_others_still_are() -> None:
    log, clock = Log(), HandClock()
    recorder = Recorder(lambda: log, clock, LIMITS)
    for _ in range(100):
        recorder.refused(denied(), "eve")
    recorder.refused(denied(kind="sign_in_refused"), "eve")
    recorder.refused(denied("zoo"), "eve")
    await recorder.flush()
    assert log.told() == [
        *[("acme", "access_denied")] * 3,
        ("acme", "sign_in_refused"),
        ("zoo", "access_denied"),
    ]
    clock.advance(60)
    await recorder.flush()
    assert log.told()[5:] == [("acme", "entries_left_out")]
    assert log.entries[-1].details == {"access_denied": 97}
    recorder.refused(denied(), "eve")
    await recorder.flush()
    assert log.told()[6:] == [("acme", "access_denied")]


async def test_many_principals_fill_no_log_either() -> None:
    log, clock = Log(), HandClock()
    recorder = Recorder(lambda: log, clock, LIMITS)
    for number in range(1000):
        recorder.refused(denied(), f"eve{number}")
    await recorder.close()
    assert log.told() == [*[("acme", "access_denied")] * 5, ("acme", "entries_left_out")]
    assert log.entries[-1].details == {"access_denied": 995}


async def test_what_could_not_be_written_is_written_later() -> None:
    log, clock = Log(), HandClock()
    recorder = Recorder(lambda: log, clock, LIMITS)
    recorder.refused(denied(), "eve")
    log.is_away = True
    with pytest.raises(Unavailable):
        await recorder.flush()
    log.is_away = False
    await recorder.flush()
    await recorder.flush()
    assert log.told() == [("acme", "access_denied")]


_refusals = st.lists(
    st.tuples(st.sampled_from(["eve", "bob", "kim"]), st.sampled_from([0, 1, 30, 61])), max_size=60
)


@given(_refusals)
async def test_every_refusal_is_recorded_or_counted(refusals: list[tuple[str, int]]) -> None:
    log, clock = Log(), HandClock()
    recorder = Recorder(lambda: log, clock, LIMITS)
    for principal, pause_s in refusals:
        clock.advance(pause_s)
        recorder.refused(denied(), principal)
    await recorder.close()
    recorded = sum(entry.kind == "access_denied" for entry in log.entries)
    left_out = sum(entry.details.get("access_denied", 0) for entry in log.entries)
    assert recorded + left_out == len(refusals)
