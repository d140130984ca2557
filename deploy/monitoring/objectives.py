"""What is promised, and how fast the promise may be used up before somebody is woken.

Source: Google, "The Site Reliability Workbook", chapter 5, multiwindow, multi-burn-rate alerts: a
long window tells that enough of the budget is gone, a short one that it still goes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from deploy.monitoring.promql import GATEWAYS, failed, slower


class Objective(NamedTuple):
    """`share` of what is counted must be good; `bad` is the share that is not, within `{within}`."""

    name: str
    title: str
    share: float
    meaning: str

    def bad(self, within: str) -> str:
        """PromQL of the share that is bad."""
        if self.name == "availability":
            return failed(GATEWAYS, within)
        if self.name == "latency":
            return slower("oql_request_duration_seconds", GATEWAYS, 0.5, within)
        return slower("oql_live_delay_seconds", "gateway-ws", 0.5, within)

    def record(self, within: str) -> str:
        """The name of the recorded series of `bad`."""
        return f"objectql:{self.name}:bad_ratio_rate{within}"


OBJECTIVES: Final = (
    Objective(
        "availability", "Availability", 0.999, "Requests that do not fail by the cluster's fault."
    ),
    Objective("latency", "Latency", 0.99, "Requests that are answered within half a second."),
    Objective(
        "delivery",
        "Commit to client",
        0.99,
        "Changes that wait for their client within half a second.",
    ),
)


class Burn(NamedTuple):
    """A speed of use, in budgets of thirty days."""

    speed: float
    long: str
    short: str
    severity: str


BURNS: Final = (
    Burn(14.4, "1h", "5m", "page"),
    Burn(6, "6h", "30m", "page"),
    Burn(3, "1d", "2h", "ticket"),
    Burn(1, "3d", "6h", "ticket"),
)
