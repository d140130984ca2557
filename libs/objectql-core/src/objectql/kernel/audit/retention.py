"""Entries end when they are as old as their log keeps them, and what is left of a chain still holds.

Only the beginning of a chain is deleted, up to the first entry that is kept, and the chain's head
keeps the sequence and the hash of the last one deleted: a checkpoint, from which the rest is followed.
Entries and checkpoint go in one transaction, a batch at a time. What is to be deleted is followed
before, so that a chain that was tampered with is not purged: its entries are the evidence.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from objectql import failpoints
from objectql.clock import Clock
from objectql.drivers.chains import Chain, ChainStore, Entry, Head
from objectql.errors import WriteConflict
from objectql.ids import ObjectName, TenantId
from objectql.kernel.audit.links import Break, first_place, follow
from objectql.kernel.engine import Engine
from objectql.values import instant_of_ms

log = logging.getLogger(__name__)

Retention: TypeAlias = Callable[[Chain], float | None]
"""How many days entries of a chain are kept; None: as long as their tenant."""

BATCH: Final = 200
"""Entries of one transaction, each of which may hold two large images."""

_HEADS: Final = 500
_DAY_MS: Final = 86_400_000


def retention_of(engine: Engine, security_days: float | None) -> Retention:
    """What objects say of their histories in the metadata in force, those of tenants among them.

    Security logs are kept for `security_days`.
    """

    def days(chain: Chain) -> float | None:
        if chain.log == "security":
            return security_days
        objects = engine.model_of(TenantId(chain.tenant)).snapshot.objects
        object_ = objects.get(ObjectName(chain.object))
        return None if object_ is None else object_.audit.retention_days

    return days


async def purge(chains: ChainStore, retention: Retention, clock: Clock) -> int:
    """Delete what is too old in all these chains; how many entries that was.

    A chain that somebody else purges, or has changed, is left to them.
    """
    total = 0
    after: Chain | None = None
    while heads := await chains.heads(after, _HEADS):
        for head in heads:
            days = retention(head.chain)
            if days is not None:
                oldest = instant_of_ms(clock.now_ms() - round(days * _DAY_MS))
                total += await _purge_chain(chains, head, oldest)
        after = heads[-1].chain
    return total


async def _purge_chain(chains: ChainStore, head: Head, oldest: str) -> int:
    total = 0
    while True:
        place = first_place(head)
        entries = _beginning(await chains.sealed(head.chain, place.at, BATCH), oldest)
        if not entries:
            break
        reached = await asyncio.to_thread(follow, place, entries)
        if isinstance(reached, Break):
            told = {"tenant": head.chain.tenant, "chain": head.chain.name, "fault": reached.fault}
            log.warning("chain_not_purged", extra=told)
            break
        moved = msgspec.structs.replace(
            head, purged_sequence=reached.sequence, purged_hash=reached.hash
        )
        failpoints.hit(failpoints.BEFORE_PURGE)
        try:
            await chains.purge(head, moved)
        except WriteConflict:  # nothing of this batch was deleted
            told = {"tenant": head.chain.tenant, "chain": head.chain.name, "fault": "moved"}
            log.warning("chain_not_purged", extra=told)
            break
        failpoints.hit(failpoints.AFTER_PURGE)
        total += len(entries)
        head = moved
    return total


def _beginning(entries: Sequence[Entry], oldest: str) -> Sequence[Entry]:
    """Those before the first one that is kept."""
    for number, entry in enumerate(entries):
        if entry.at >= oldest:
            return entries[:number]
    return entries
