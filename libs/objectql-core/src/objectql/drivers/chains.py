"""Logs whose entries are chained: what was sealed cannot be altered without being found out.

A log of a tenant is one chain, the history one for each object. Who writes an entry knows nothing of
chains, so that writers share no row; the sealer (`kernel.audit.sealer`) gives entries that are
committed a sequence and a hash afterwards. Hashes are made and checked by `kernel.audit.links`,
never here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from objectql.ids import TenantId

Log: TypeAlias = Literal["history", "security"]

LOGS: Final[tuple[Log, ...]] = ("history", "security")

ORIGIN: Final = "0" * 64
"""The hash before the first entry of a chain."""


class Chain(NamedTuple):
    """Which chain. `object` is empty where the log is not of an object."""

    tenant: str
    log: Log
    object: str = ""

    @property
    def name(self) -> str:
        """As people call it within the tenant: `security`, `history/account`."""
        return f"{self.log}/{self.object}" if self.object else self.log


class Entry(msgspec.Struct, frozen=True):
    """An entry as it is stored. `content` is all of it but what sealing adds, `position` first.

    `sequence` counts from 1 within the chain; it and `hash` (SHA-256 in hexadecimal) are None until
    the entry is sealed.
    """

    chain: Chain
    position: int
    id: str
    at: str
    content: tuple[str | int | None, ...]
    sequence: int | None = None
    hash: str | None = None


class Head(msgspec.Struct, frozen=True):
    """Where a chain ends, and where it begins since entries up to `purged_sequence` are purged."""

    chain: Chain
    sequence: int = 0
    hash: str = ORIGIN
    purged_sequence: int = 0
    purged_hash: str = ORIGIN


class Link(NamedTuple):
    """What sealing adds to the entry at `position`."""

    position: int
    sequence: int
    hash: str


class Seal(msgspec.Struct, frozen=True):
    """The links that lead from one head of a chain to the next."""

    before: Head
    after: Head
    links: tuple[Link, ...]


class ChainStore(Protocol):
    """The chains of one data source."""

    async def unsealed(
        self, log: Log, limit: int, *, besides: Collection[Chain] = ()
    ) -> tuple[Entry, ...]:
        """Committed entries that have no sequence yet, of all chains but `besides`, by position."""
        ...

    async def head(self, chain: Chain) -> Head:
        """Where it ends; that of an empty chain if nothing was sealed."""
        ...

    async def seal(self, seals: Sequence[Seal]) -> None:
        """Add the links and move the heads, all or nothing. One seal per chain.

        Raises:
            WriteConflict: a head has moved, or an entry was sealed or deleted meanwhile.

        """
        ...

    async def heads(self, after: Chain | None, limit: int) -> tuple[Head, ...]:
        """Heads of all tenants, in the order of their chains, those beyond one of them."""
        ...

    async def purge(self, before: Head, after: Head) -> None:
        """Delete the entries between two checkpoints of a chain and move it there, all or nothing.

        Raises:
            WriteConflict: the checkpoint has moved, or an entry was deleted meanwhile.

        """
        ...

    async def chains(self, tenant: TenantId) -> tuple[Chain, ...]:
        """Those that have a head or an entry, in order."""
        ...

    async def sealed(self, chain: Chain, after: tuple[int, int], limit: int) -> tuple[Entry, ...]:
        """Sealed entries by (sequence, position), those beyond `after`."""
        ...

    async def count_unsealed(self, chain: Chain) -> int:
        """How many entries of a chain wait to be sealed."""
        ...
