"""What kernels know and sockets depend on: the metadata in force, and how tenants stand.

Both are heard as they happen, and asked for where an announcement was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Final

from objectql.bus.port import Bus, Envelope
from objectql.clock import Clock
from objectql.context import Context, system_actor
from objectql.ids import uuid7
from objectql.service.following import Follower
from objectql.wire import codec, subjects
from objectql.wire.live import StandingReply, StandingRequest
from objectql.wire.messages import MetadataChanged, SnapshotReply, SnapshotRequest
from objectql_gateway_ws.kernel import Kernel

POLL_S: Final = 0.5
_TIMEOUT_MS: Final = 5000


class MetadataVersion:
    """Calls `changed` with every newer version; `start` follows until `stop`."""

    def __init__(self, kernel: Kernel, clock: Clock, changed: Callable[[int], None]) -> None:
        self.version = 0
        self._kernel = kernel
        self._clock = clock
        self._changed = changed
        self._follower = Follower(
            "metadata",
            subjects.kernel_event("metadata:published"),
            refresh=self.refresh,
            hear=self._hear,
            clock=clock,
            poll_s=POLL_S,
        )

    def start(self, bus: Bus) -> None:
        """Begin to follow; returns at once."""
        self._follower.start(bus)

    async def stop(self) -> None:
        """Stop following."""
        await self._follower.stop()

    async def refresh(self) -> None:
        """Ask a kernel.

        Raises:
            ObjectQLError: none answers.

        """
        request = SnapshotRequest(known=self.version)
        context = _context(self._clock)
        self._learn((await self._kernel.call("snapshot", request, context, SnapshotReply)).version)

    def _hear(self, message: Envelope) -> None:
        self._learn(codec.decode(MetadataChanged, message.body).version)

    def _learn(self, version: int) -> None:
        if version > self.version:
            self.version = version
            self._changed(version)


class TenantStanding:
    """Follows `tenants` from `start` until `stop`.

    Calls `refused` with those that may act no longer, and `own` with the numbers of the metadata
    that they have of their own.
    """

    def __init__(
        self,
        kernel: Kernel,
        clock: Clock,
        tenants: Callable[[], Collection[str]],
        refused: Callable[[Collection[str]], None],
        own: Callable[[Mapping[str, int]], None],
    ) -> None:
        self._kernel = kernel
        self._clock = clock
        self._tenants = tenants
        self._refused = refused
        self._own = own
        self._follower = Follower(
            "tenants",
            subjects.kernel_event("tenants"),
            refresh=self.refresh,
            hear=self._hear,
            clock=clock,
            poll_s=POLL_S,
        )

    def start(self, bus: Bus) -> None:
        """Begin to follow; returns at once."""
        self._follower.start(bus)

    async def stop(self) -> None:
        """Stop following."""
        await self._follower.stop()

    def _hear(self, _message: Envelope) -> None:
        self._follower.wake()

    async def refresh(self) -> None:
        """Ask a kernel.

        Raises:
            ObjectQLError: none answers.

        """
        tenants = tuple(self._tenants())
        if tenants:
            request, context = StandingRequest(tenants), _context(self._clock)
            reply = await self._kernel.call("live_standing", request, context, StandingReply)
            self._refused(reply.refused)
            self._own(reply.own)


def _context(clock: Clock) -> Context:
    return Context(
        actor=system_actor(), deadline_ms=clock.now_ms() + _TIMEOUT_MS, request_id=uuid7()
    )
