"""Chains the entries of one data source's logs after they are committed, and purges old ones.

One worker of the cluster holds the sealer's lease. It reads entries that have no place in a chain,
in the order of their positions, which for one record is that of its commits, and adds place and hash
to all of them and the new heads in one transaction. A worker that dies before that transaction has
sealed nothing, one that dies after it has lost nothing; and one that goes on without the lease finds
that a head has moved, so that no entry is sealed twice. What is committed late gets a later place. A
chain that cannot be sealed, since somebody changed its head or its entries, is set aside for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeAlias

import msgspec

from objectql import failpoints
from objectql.clock import Clock, SystemClock
from objectql.drivers.chains import LOGS, Chain, ChainStore, Entry, Head, Seal
from objectql.drivers.stores import Leases
from objectql.errors import ObjectQLError, WriteConflict
from objectql.kernel.audit.links import seal_after
from objectql.kernel.audit.retention import Retention, purge
from objectql.kernel.lease import HeldLease

log = logging.getLogger(__name__)

Announce: TypeAlias = Callable[[Sequence[Head]], Awaitable[None]]
"""Tells the new heads to whoever keeps them elsewhere. One that is lost is followed by a newer."""


class SealerLimits(msgspec.Struct, frozen=True):
    """How much and how often; seconds."""

    batch: int = 500
    """Entries of one transaction, each of which may hold two large images."""
    pause_s: float = 0.25
    """How long entries gather: a seal costs much the same for one and for a hundred."""
    lease_ttl_s: float = 4.0
    purge_every_s: float = 3600.0
    retry_s: float = 30.0
    """Until a chain that could not be sealed is tried again."""


def _for_good(chain: Chain) -> None:
    """Entries live as long as their tenant."""


async def _to_nobody(heads: Sequence[Head]) -> None:
    """Without a bus there is nobody to tell."""


class Sealer:
    """The sealer of one data source in one worker."""

    def __init__(
        self,
        source: str,
        chains: ChainStore,
        leases: Leases,
        *,
        holder: str,
        clock: Clock | None = None,
        limits: SealerLimits | None = None,
        announce: Announce = _to_nobody,
        retention: Retention = _for_good,
    ) -> None:
        """`holder` names this worker."""
        self._retention = retention
        self._chains = chains
        self._clock = clock or SystemClock()
        self._limits = limits or SealerLimits()
        self._announce = announce
        self._broken: dict[Chain, float] = {}
        """Chains that are set aside, and until when."""
        ttl_s = self._limits.lease_ttl_s
        self._lease = HeldLease(leases, f"audit:{source}", holder, self._clock, ttl_s)

    @property
    def is_leading(self) -> bool:
        """Whether this worker seals."""
        return self._lease.is_held

    async def run(self) -> None:
        """Work until cancelled; then give the lease up."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._seal_always())
                group.create_task(self._purge_sometimes())
        finally:
            await self._lease.release()

    async def _seal_always(self) -> None:
        while True:
            try:
                if await self._lease.keep():
                    await self.drain()
            except ObjectQLError as exc:
                log.warning("sealer_failed", extra={"reason": str(exc)})
            limits = self._limits
            await self._clock.sleep(limits.pause_s if self.is_leading else limits.lease_ttl_s / 4)

    async def _purge_sometimes(self) -> None:
        """Beside the seals: the first purge of a large log takes long."""
        while True:
            pause_s = self._limits.pause_s
            if self.is_leading:
                pause_s = self._limits.purge_every_s
                try:
                    await self.purge(self._chains)
                except ObjectQLError as exc:
                    log.warning("purge_failed", extra={"reason": str(exc)})
            await self._clock.sleep(pause_s)

    async def purge(self, chains: ChainStore) -> int:
        """Delete what is too old in `chains`, see `retention.purge`; whoever does it at the same time."""
        return await purge(chains, self._retention, self._clock)

    async def drain(self) -> int:
        """`seal` what is committed in the shared tables."""
        return await self.seal(self._chains)

    async def seal(self, chains: ChainStore) -> int:
        """Seal what is committed in `chains` now; how many entries that was.

        Those may also be of a tenant's own tables, for which the lease says nothing; there, as
        everywhere, the head keeps two sealers apart.
        """
        total = 0
        for log_ in LOGS:
            while True:
                entries = await chains.unsealed(log_, self._limits.batch, besides=self._set_aside())
                if entries:
                    total += await self._seal(chains, entries)
                if len(entries) < self._limits.batch:
                    break
                if chains is self._chains and not await self._lease.keep():
                    break
        return total

    def _set_aside(self) -> Collection[Chain]:
        now_s = self._clock.monotonic_s()
        self._broken = {
            chain: until_s for chain, until_s in self._broken.items() if until_s > now_s
        }
        return self._broken.keys()

    async def _seal(self, chains: ChainStore, entries: Sequence[Entry]) -> int:
        by_chain: dict[Chain, list[Entry]] = {}
        for entry in entries:
            by_chain.setdefault(entry.chain, []).append(entry)
        heads = {chain: await chains.head(chain) for chain in by_chain}
        # Hashing is work for the processor, and this worker answers requests beside it.
        seals = await asyncio.to_thread(
            lambda: [seal_after(heads[chain], found) for chain, found in by_chain.items()]
        )
        failpoints.hit(failpoints.BEFORE_SEAL)
        try:
            await chains.seal(seals)
        except WriteConflict:
            seals = [seal for seal in seals if await self._is_sealed_alone(chains, seal)]
        failpoints.hit(failpoints.AFTER_SEAL)
        await self._announce([seal.after for seal in seals])
        return sum(len(seal.links) for seal in seals)

    async def _is_sealed_alone(self, chains: ChainStore, seal: Seal) -> bool:
        """A chain whose head or entries somebody has changed must keep no other waiting."""
        try:
            await chains.seal([seal])
        except WriteConflict:
            chain = seal.after.chain
            log.warning("chain_not_sealed", extra={"tenant": chain.tenant, "chain": chain.name})
            self._broken[chain] = self._clock.monotonic_s() + self._limits.retry_s
            return False
        return True
