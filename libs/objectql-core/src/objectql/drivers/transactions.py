"""Transactions by their names: their proof in the store, and their parts that are prepared.

A transaction that has a name leaves a *mark* in every data source that it writes to. The mark is
one more row of the transaction, so it is there if and only if that source has committed. Where a
transaction has parts in several sources, each part is *prepared* first: the source keeps it, with
its locks, whatever dies, until somebody says how it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from objectql.ids import DataSource, TenantId
from objectql.metadata.model import ObjectDef
from objectql.txn.names import Outcome

MARKS_DAYS: Final = 7
"""How long marks are kept: what could still ask for one has given up long before."""


class Mark(msgspec.Struct, frozen=True):
    """What a transaction leaves where it has committed.

    `sources` are all that it has written to. `touched` are the object and id of every record of
    this part of which an answer may have been kept.
    """

    id: str
    tenant: TenantId
    sources: tuple[DataSource, ...]
    touched: tuple[tuple[str, str], ...] = ()


class Transactions(Protocol):
    """The named transactions of one data source, see the module."""

    async def check_ready(self) -> None:
        """Return when parts can be prepared here.

        Raises:
            SourceCannotPrepare: never, or not as the server is set up; it says what to set.

        """
        ...

    async def find(self, id: str) -> Mark | None:
        """The mark of a transaction; None: it has not committed here."""
        ...

    async def prepared(self) -> tuple[str, ...]:
        """The names of all parts that are prepared here, whoever prepared them."""
        ...

    async def writing(self, objects: Sequence[ObjectDef]) -> tuple[str, ...]:
        """The names of the parts prepared here that have written to records of `objects`."""
        ...

    async def finish(self, name: str, outcome: Outcome) -> bool:
        """End a prepared part; False: there is none of this name (any more).

        Raises:
            WriteConflict: somebody else is ending it just now.
            Unavailable, OutcomeUnknown: to be repeated.

        """
        ...
