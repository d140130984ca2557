"""What tenants have of their own beside the published metadata, as this gateway knows it.

A kernel is asked when somebody needs it, and again when the answer is older than `FRESH_S`; few
requests do (documents that describe the API, paths whose parameters are names of fields).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from objectql.clock import Clock
from objectql.ids import TenantId
from objectql.metadata.overlay import TenantMetadata, fitting_overlay
from objectql.metadata.registry import MetadataSnapshot
from objectql.metadata.transfer import decode_own
from objectql.wire.messages import SnapshotReply
from objectql.wire.tenants import TenantSnapshotRequest

FRESH_S: Final = 1.0
"""As old as published metadata may be in a gateway."""

CAPACITY: Final = 256

_NOTHING: Final = TenantMetadata()

Ask = Callable[[TenantSnapshotRequest], Awaitable[SnapshotReply]]


class _Known(NamedTuple):
    asked_s: float
    metadata: TenantMetadata
    snapshot: MetadataSnapshot
    base: MetadataSnapshot


class OwnMetadataView:
    """See the head of this module. `ask` asks a kernel."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._known: OrderedDict[TenantId, _Known] = OrderedDict()

    def forget(self, tenant: TenantId) -> None:
        """Ask anew: it has just been changed."""
        self._known.pop(tenant, None)

    async def over(self, base: MetadataSnapshot, tenant: TenantId) -> MetadataSnapshot:
        """What `tenant` sees where `base` is published; `base` itself if it has nothing of its own.

        Raises:
            ObjectQLError: no kernel could be asked.

        """
        known = self._known.get(tenant)
        now_s = self._clock.monotonic_s()
        if known is not None and known.base is base and now_s - known.asked_s < FRESH_S:
            return known.snapshot
        metadata = _NOTHING if known is None else known.metadata
        reply = await self._ask(TenantSnapshotRequest(tenant, metadata.digest))
        if reply.items is not None:
            metadata = decode_own(reply.items)
        elif not reply.version:
            metadata = _NOTHING
        snapshot = base
        if known is not None and known.base is base and known.metadata is metadata:
            snapshot = known.snapshot
        elif metadata.number:
            snapshot = fitting_overlay(base, tenant, metadata)
        self._known[tenant] = _Known(now_s, metadata, snapshot, base)
        self._known.move_to_end(tenant)
        if len(self._known) > CAPACITY:
            self._known.popitem(last=False)
        return snapshot
