"""History and chains of the memory driver: the entries of all logs in one place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from objectql.drivers.chains import LOGS, Chain, Entry, Head, Log, Seal
from objectql.errors import WriteConflict
from objectql.events import ChangeEvent
from objectql.ids import TenantId


class MemoryChains:
    """See `ChainStore`."""

    def __init__(self) -> None:
        self._last = 0
        self._entries: dict[Log, dict[int, Entry]] = {log: {} for log in LOGS}
        self._heads: dict[Chain, Head] = {}

    def append(self, chain: Chain, id_: str, at: str, *content: str | int | None) -> int:
        """Take over a committed entry; its position."""
        self._last += 1
        entry = Entry(chain, self._last, id_, at, (self._last, id_, at, *content))
        self._entries[chain.log][self._last] = entry
        return self._last

    def forget(self, tenant: TenantId) -> None:
        """Drop what is of `tenant`."""
        for log, entries in self._entries.items():
            kept = {at: entry for at, entry in entries.items() if entry.chain.tenant != tenant}
            self._entries[log] = kept
        self._heads = {c: head for c, head in self._heads.items() if c.tenant != tenant}

    def has(self, log: Log, position: int) -> bool:
        """Whether the entry is still there."""
        return position in self._entries[log]

    async def unsealed(
        self, log: Log, limit: int, *, besides: Collection[Chain] = ()
    ) -> tuple[Entry, ...]:
        """See `ChainStore`."""
        waiting = [
            entry
            for entry in self._entries[log].values()
            if entry.sequence is None and entry.chain not in besides
        ]
        return tuple(waiting[:limit])

    async def head(self, chain: Chain) -> Head:
        """See `ChainStore`."""
        return self._heads.get(chain, Head(chain))

    async def seal(self, seals: Sequence[Seal]) -> None:
        """See `ChainStore`."""
        for seal in seals:
            entries = self._entries[seal.after.chain.log]
            if (await self.head(seal.after.chain)).sequence != seal.before.sequence:
                raise WriteConflict
            for link in seal.links:
                entry = entries.get(link.position)
                if entry is None or entry.sequence is not None:
                    raise WriteConflict
        for seal in seals:
            entries = self._entries[seal.after.chain.log]
            self._heads[seal.after.chain] = msgspec.structs.replace(
                await self.head(seal.after.chain),
                sequence=seal.after.sequence,
                hash=seal.after.hash,
            )
            for position, sequence, hash_ in seal.links:
                entries[position] = msgspec.structs.replace(
                    entries[position], sequence=sequence, hash=hash_
                )

    async def heads(self, after: Chain | None, limit: int) -> tuple[Head, ...]:
        """See `ChainStore`."""
        found = sorted(chain for chain in self._heads if after is None or chain > after)
        return tuple(self._heads[chain] for chain in found[:limit])

    async def purge(self, before: Head, after: Head) -> None:
        """See `ChainStore`."""
        head = await self.head(after.chain)
        old = [
            entry
            for entry in self._of(after.chain)
            if entry.sequence is not None
            and before.purged_sequence < entry.sequence <= after.purged_sequence
        ]
        count = after.purged_sequence - before.purged_sequence
        if head.purged_sequence != before.purged_sequence or len(old) != count:
            raise WriteConflict
        for entry in old:
            del self._entries[after.chain.log][entry.position]
        self._heads[after.chain] = msgspec.structs.replace(
            head, purged_sequence=after.purged_sequence, purged_hash=after.purged_hash
        )

    async def chains(self, tenant: TenantId) -> tuple[Chain, ...]:
        """See `ChainStore`."""
        found = {entry.chain for log in LOGS for entry in self._entries[log].values()}
        return tuple(sorted(c for c in found | self._heads.keys() if c.tenant == tenant))

    async def sealed(self, chain: Chain, after: tuple[int, int], limit: int) -> tuple[Entry, ...]:
        """See `ChainStore`."""
        found = sorted(
            ((entry.sequence, entry.position), entry)
            for entry in self._of(chain)
            if entry.sequence is not None
        )
        return tuple([entry for place, entry in found if place > after][:limit])

    async def count_unsealed(self, chain: Chain) -> int:
        """See `ChainStore`."""
        return sum(entry.sequence is None for entry in self._of(chain))

    def _of(self, chain: Chain) -> Iterator[Entry]:
        return (entry for entry in self._entries[chain.log].values() if entry.chain == chain)


class MemoryHistory:
    """See `HistoryStore`."""

    def __init__(self, chains: MemoryChains) -> None:
        self._chains = chains
        self._kept: dict[tuple[str, str, str], list[tuple[int, ChangeEvent]]] = {}

    def append(self, events: Sequence[ChangeEvent]) -> None:
        """Take over the kept events of a commit."""
        for event in events:
            content = msgspec.structs.astuple(event)
            position = self._chains.append(
                Chain(event.tenant, "history", event.object),
                *(event.id, event.at),
                *(v.decode() if isinstance(v, bytes) else v for v in content),
            )
            key = (event.tenant, event.object, event.record_id)
            self._kept.setdefault(key, []).append((position, event))

    async def of_record(
        self,
        tenant: TenantId,
        object: str,
        record_id: str,
        *,
        limit: int,
        before: int | None = None,
    ) -> tuple[tuple[int, ChangeEvent], ...]:
        """See `HistoryStore`."""
        key = (tenant, object, record_id)
        kept = [at for at in self._kept.get(key, []) if self._chains.has("history", at[0])]
        self._kept[key] = kept
        older = [entry for entry in reversed(kept) if before is None or entry[0] < before]
        return tuple(older[:limit])
