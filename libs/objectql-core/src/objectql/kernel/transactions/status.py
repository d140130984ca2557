"""How a transaction stands, from what its sources hold and what was decided.

No process needs to remember it. A mark that is seen proves the decision to commit, all marks that it
has come into force; a decision to commit is forgotten only then. So `committed` is never taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from objectql.drivers.transactions import Mark
from objectql.errors import ObjectQLError, TransactionUnknown, Unavailable
from objectql.ids import DataSource, TenantId
from objectql.kernel.engine import Engine
from objectql.kernel.transactions.parts import tables_of
from objectql.txn.names import parse_part_name
from objectql.txn.protocol import State
from objectql.wire.transactions import TransactionReply


class TransactionStatus:
    """Looks transactions up."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def of(self, id: str, tenant: TenantId) -> TransactionReply:
        """How a transaction of `tenant` stands.

        Raises:
            TransactionUnknown: the tenant has none of this id, or it left nothing.
            Unavailable: whoever would know is away.

        """
        marks, away = await self._marks(id, tenant)
        for mark in marks.values():
            if mark is not None and mark.tenant == tenant:
                state = await self._state_of_marked(mark, marks)
                return TransactionReply(id, state, mark.sources)
        decision = await self._engine.coordinator.decision(id)
        if decision is not None and decision.tenant == tenant:
            state = "in_doubt" if decision.outcome == "commit" else "aborted"
            return TransactionReply(id, state, decision.sources)
        if away:
            raise Unavailable(what=f'the data source "{away[0]}"')
        if await self._is_prepared(id, tenant):
            return TransactionReply(id, "in_doubt")
        raise TransactionUnknown(id=id[:100])

    async def _state_of_marked(self, mark: Mark, marks: Mapping[DataSource, Mark | None]) -> State:
        missing = [source for source in mark.sources if marks.get(source) is None]
        if not missing:
            return "committed"
        if any(source in marks for source in missing):  # it was asked, and has it not yet
            return "in_doubt"
        decision = await self._engine.coordinator.decision(mark.id)
        return "committed" if decision is None else "in_doubt"

    async def _marks(
        self, id: str, tenant: TenantId
    ) -> tuple[dict[DataSource, Mark | None], list[DataSource]]:
        """The marks by source, and the sources that do not answer."""

        async def find(source: DataSource) -> Mark | None:
            return await tables_of(self._engine, source, tenant).transactions.find(id)

        sources = list(self._engine.drivers)
        found = await asyncio.gather(*map(find, sources), return_exceptions=True)
        marks: dict[DataSource, Mark | None] = {}
        away: list[DataSource] = []
        for source, answer in zip(sources, found, strict=True):
            if isinstance(answer, ObjectQLError):
                away.append(source)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                marks[source] = answer
        return marks, away

    async def _is_prepared(self, id: str, tenant: TenantId) -> bool:
        listed = await asyncio.gather(
            *(driver.transactions.prepared() for driver in self._engine.shared.values())
        )
        return any(
            part is not None and (part.txn, part.tenant) == (id, tenant)
            for part in map(parse_part_name, _all(listed))
        )


def _all(lists: Iterable[Iterable[str]]) -> list[str]:
    return [name for names in lists for name in names]
