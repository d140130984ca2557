"""Heartbeats of processes that there are none of, and a clock that stands still."""

from __future__ import annotations

from objectql.bus.port import Envelope
from objectql.wire import codec
from objectql.wire.messages import Heartbeat


class HeldClock:
    def __init__(self) -> None:
        self.at_s = 100.0

    def now_ms(self) -> int:
        return round(self.at_s * 1000)

    def monotonic_s(self) -> float:
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        self.at_s += seconds


def beat(service: str, instance: str, **more: object) -> Envelope:
    fields = {"version": "1.0.0", "started_ms": 1, "sent_ms": 2, "status": "ready", **more}
    heartbeat = Heartbeat(service=service, instance=instance, **fields)  # pyright: ignore[reportArgumentType]
    return Envelope(subject=f"oql.v1.hb.{service}.{instance}", body=codec.encode(heartbeat))
