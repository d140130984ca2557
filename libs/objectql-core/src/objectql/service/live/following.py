"""What kernels know and listeners depend on: the metadata in force, and how tenants stand.

Both are heard as they happen, and asked for where an announcement was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from objectql.bus.port import Envelope
from objectql.clock import Clock
from objectql.context import Context, system_actor
from objectql.ids import uuid7
from objectql.service.following import Follower
from objectql.service.kernel import Kernel
from objectql.wire import codec, subjects
from objectql.wire.live import StandingReply, StandingRequest
from objectql.wire.messages import MetadataChanged, SnapshotReply, SnapshotRequest

POLL_S: Final = 0.5
_TIMEOUT_MS: Final = 5000


def follow_metadata(
    kernel: Kernel, clock: Clock, known: Callable[[], int], learned: Callable[[int], None]
) -> Follower:
    """What tells `learned` the version of the metadata in force; `known` is what it was told."""

    async def refresh() -> None:
        request = SnapshotRequest(known=known())
        reply = await kernel.call("snapshot", request, _context(clock), SnapshotReply)
        learned(reply.version)

    def hear(message: Envelope) -> None:
        learned(codec.decode(MetadataChanged, message.body).version)

    return Follower(
        "metadata",
        subjects.kernel_event("metadata:published"),
        refresh=refresh,
        hear=hear,
        clock=clock,
        poll_s=POLL_S,
    )


def follow_tenants(
    kernel: Kernel,
    clock: Clock,
    tenants: Callable[[], Collection[str]],
    learned: Callable[[StandingReply], None],
) -> Follower:
    """What tells `learned` how those of `tenants` stand."""

    async def refresh() -> None:
        asked = tuple(tenants())
        if asked:
            request = StandingRequest(asked)
            learned(await kernel.call("live_standing", request, _context(clock), StandingReply))

    def hear(_message: Envelope) -> None:
        follower.wake()

    follower = Follower(
        "tenants",
        subjects.kernel_event("tenants"),
        refresh=refresh,
        hear=hear,
        clock=clock,
        poll_s=POLL_S,
    )
    return follower


def _context(clock: Clock) -> Context:
    return Context(
        actor=system_actor(), deadline_ms=clock.now_ms() + _TIMEOUT_MS, request_id=uuid7()
    )
