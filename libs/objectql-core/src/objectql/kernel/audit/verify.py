"""Follows the chains of a tenant through all data sources, and names the first place that breaks.

It goes in steps, each of which fits into a request, while entries are written, sealed and purged.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from objectql.drivers.chains import Chain, ChainStore
from objectql.errors import InvalidRequest
from objectql.ids import DataSource, TenantId
from objectql.kernel.audit.links import Break, Place, ends_at, first_place, follow
from objectql.kernel.engine import Engine

STEP_ENTRIES: Final = 5000
_PAGE: Final = 200
"""Entries in memory at a time; each may hold two large images."""


class ChainReport(msgspec.Struct, frozen=True):
    """How a chain was found. `first` and `last` are sequences, `hash` that of the last good entry.

    `unsealed` entries are committed and not part of the chain yet. `anchored`: one of its hashes is
    the known one.
    """

    source: str
    chain: str
    intact: bool
    broken: Break | None
    entries: int
    first: int
    last: int
    hash: str
    unsealed: int
    anchored: bool


class _Step(msgspec.Struct, frozen=True):
    """Where the next step goes on: in the middle of a chain, or behind one."""

    source: str
    place: Place
    is_done: bool = False


class Verifier:
    """See the head of this module."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def step(
        self, tenant: TenantId, anchor: str | None, place: bytes | None
    ) -> tuple[list[ChainReport], bytes | None]:
        """The chains followed to their ends in this step, and where to go on; None: that was all.

        Raises:
            InvalidRequest: `place` is not of a step before, for this tenant.

        """
        step = None if place is None else _decoded(place, tenant)
        reports: list[ChainReport] = []
        left = STEP_ENTRIES
        for source, chain in await self._chains(tenant):
            begin = None
            if step is not None:
                done = (step.source, step.place.chain)
                if (source, chain) < done or ((source, chain) == done and step.is_done):
                    continue
                begin = step.place if (source, chain) == done else None
            chains = self._engine.drivers[DataSource(source)].chains
            found = await self._follow(chains, chain, anchor, begin, left)
            if isinstance(found, Place):
                return reports, msgspec.msgpack.encode(_Step(source, found))
            report, at = found
            reports.append(msgspec.structs.replace(report, source=source))
            left -= at.entries - (0 if begin is None else begin.entries)
            if left <= 0:
                return reports, msgspec.msgpack.encode(_Step(source, at, is_done=True))
        return reports, None

    async def _chains(self, tenant: TenantId) -> list[tuple[str, Chain]]:
        return sorted(
            [
                (str(name), chain)
                for name, driver in self._engine.drivers.items()
                for chain in await driver.chains.chains(tenant)
            ]
        )

    async def _follow(
        self,
        chains: ChainStore,
        chain: Chain,
        anchor: str | None,
        begin: Place | None,
        budget: int,
    ) -> Place | tuple[ChainReport, Place]:
        place = first_place(await chains.head(chain)) if begin is None else begin
        limit = place.entries + budget
        while True:
            entries = await chains.sealed(chain, place.at, _PAGE)
            if entries:
                found = await asyncio.to_thread(follow, place, entries, anchor)
            else:
                head = await chains.head(chain)  # after its entries, so it knows them all
                entries = await chains.sealed(chain, place.at, 1)
                if entries:
                    continue
                found = follow(place, (), anchor)
                found = ends_at(place, head) or found
            if isinstance(found, Break):
                head = await chains.head(chain)
                if head.purged_sequence > place.sequence - place.entries:
                    place = first_place(head)  # what was followed was purged meanwhile
                    continue
                return await _report(chains, place, found), place
            if not entries:
                return await _report(chains, found, None), found
            place = found
            if place.entries >= limit:
                return place


async def _report(chains: ChainStore, place: Place, broken: Break | None) -> ChainReport:
    return ChainReport(
        source="",
        chain=place.chain.name,
        intact=broken is None,
        broken=broken,
        entries=place.entries,
        first=place.sequence - place.entries + 1,
        last=place.sequence,
        hash=place.hash,
        unsealed=await chains.count_unsealed(place.chain),
        anchored=place.is_anchored,
    )


def _decoded(place: bytes, tenant: TenantId) -> _Step:
    try:
        step = msgspec.msgpack.decode(place, type=_Step)
    except msgspec.MsgspecError as exc:
        raise InvalidRequest(reason="this is no place in a verification") from exc
    if step.place.chain.tenant != tenant:
        raise InvalidRequest(reason="this is no place in a verification of this tenant")
    return step
