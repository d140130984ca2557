"""Marks in memory; nothing that is in memory can be prepared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from objectql.drivers.transactions import Mark
from objectql.errors import SourceCannotPrepare
from objectql.metadata.model import ObjectDef
from objectql.txn.names import Outcome


class MemoryTransactions:
    """See `Transactions`."""

    def __init__(self, marks: Mapping[str, tuple[Mark, int]], name: str) -> None:
        """`marks` are those of committed transactions, each with when that was."""
        self._marks = marks
        self._name = name

    async def check_ready(self) -> None:
        """See `Transactions`."""
        raise SourceCannotPrepare(source=self._name, reason="memory prepares no transactions")

    async def find(self, id: str) -> Mark | None:
        """See `Transactions`."""
        found = self._marks.get(id)
        return None if found is None else found[0]

    async def prepared(self) -> tuple[str, ...]:
        """See `Transactions`."""
        return ()

    async def writing(self, objects: Sequence[ObjectDef]) -> tuple[str, ...]:
        """See `Transactions`."""
        del objects
        return ()

    async def finish(self, name: str, outcome: Outcome) -> bool:
        """See `Transactions`."""
        del name, outcome
        return False
