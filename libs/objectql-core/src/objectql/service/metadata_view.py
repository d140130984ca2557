"""The metadata as this gateway knows it: a snapshot kept fresh by events, and by polling as net.

The kernel is the authority; the snapshot serves what needs no kernel (OpenAPI, the names of query
parameters), and may be a moment old.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from objectql.bus.port import Bus, Envelope
from objectql.clock import Clock
from objectql.context import Context, system_actor
from objectql.errors import ObjectQLError, Unavailable
from objectql.ids import TenantId, uuid7
from objectql.metadata.registry import MetadataSnapshot
from objectql.service.following import Follower
from objectql.service.own_metadata import OwnMetadataView
from objectql.wire import codec, subjects
from objectql.wire.messages import MetadataChanged, SnapshotReply, SnapshotRequest

T = TypeVar("T")

_POLL_S = 1.0
_TIMEOUT_MS = 5000

log = logging.getLogger(__name__)


class SnapshotSource(Protocol):
    """Where snapshots come from: the kernel client."""

    async def call(
        self, verb: str, request: msgspec.Struct, context: Context, reply_type: type[T]
    ) -> T: ...


class MetadataView:
    """The newest snapshot that was seen. `start` keeps it fresh until `stop`."""

    def __init__(
        self, source: SnapshotSource, clock: Clock, decode: Callable[[bytes], MetadataSnapshot]
    ) -> None:
        self._source = source
        self._clock = clock
        self._decode = decode
        self._snapshot: MetadataSnapshot | None = None
        self._refreshing = asyncio.Lock()
        self._own = OwnMetadataView(partial(self._ask, "tenant_snapshot"), clock)
        self._follower = Follower(
            "metadata",
            subjects.kernel_event("metadata:published"),
            refresh=self.refresh,
            hear=self._hear,
            clock=clock,
            poll_s=_POLL_S,
        )

    @property
    def is_ready(self) -> bool:
        """Whether there is a snapshot at all."""
        return self._snapshot is not None

    @property
    def version(self) -> int:
        """The version of the snapshot, 0 before the first."""
        return 0 if self._snapshot is None else self._snapshot.version

    @property
    def snapshot(self) -> MetadataSnapshot:
        """The newest snapshot that was seen.

        Raises:
            Unavailable: no kernel has answered yet.

        """
        if self._snapshot is None:
            raise Unavailable(what="the metadata", retry_after_ms=1000)
        return self._snapshot

    async def refresh(self, at_least: int = 0) -> None:
        """Fetch a newer snapshot if there is one; with `at_least`, only if ours is older.

        Raises:
            ObjectQLError: the kernel could not be asked.

        """
        async with self._refreshing:
            if at_least and self.version >= at_least:
                return
            reply = await self._ask("snapshot", SnapshotRequest(known=self.version))
            if reply.items is not None and reply.version != self.version:
                self._snapshot = self._decode(reply.items)

    async def of(self, tenant: TenantId) -> MetadataSnapshot:
        """The metadata as `tenant` sees them, at most a moment old.

        Raises:
            ObjectQLError: no kernel could be asked.

        """
        return await self._own.over(self.snapshot, tenant)

    def forget(self, tenant: TenantId) -> None:
        """What `tenant` has of its own was just changed by way of this gateway."""
        self._own.forget(tenant)

    async def _ask(self, verb: str, request: msgspec.Struct) -> SnapshotReply:
        context = Context(
            actor=system_actor(),
            deadline_ms=self._clock.now_ms() + _TIMEOUT_MS,
            request_id=uuid7(),
        )
        return await self._source.call(verb, request, context, SnapshotReply)

    async def catch_up(self, version: int) -> None:
        """Try to know what was just published as `version`; the poll goes on if this fails."""
        try:
            await self.refresh(version)
        except ObjectQLError as exc:
            log.warning("metadata_refresh_failed", extra={"reason": str(exc)})

    async def start(self, bus: Bus) -> None:
        """Follow the kernel's announcements and poll; returns without waiting for a snapshot."""
        self._follower.start(bus)

    async def stop(self) -> None:
        """Stop following."""
        await self._follower.stop()

    def _hear(self, message: Envelope) -> None:
        if codec.decode(MetadataChanged, message.body).version > self.version:
            self._follower.wake()
