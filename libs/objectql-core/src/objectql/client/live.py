"""One live query: what it asks for, how far it was told, what waits to be taken.

It outlives its sockets. Whatever socket it is told over, it continues behind the last cursor that
it took in, so that nothing is missed and nothing told twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, nullcontext
from types import TracebackType
from typing import Any, Final, Protocol, Self

from objectql.client.changes import Missed, Record, Snapshot, Told, apply, told_by

WAITING: Final = 1000
"""Items that wait to be taken before the server is asked to keep the rest."""


class Connection(Protocol):
    """What tells live queries, see `objectql.client.sockets`."""

    def add(self, live: Live) -> None: ...
    def remove(self, live: Live) -> None: ...
    def ask_again(self, live: Live) -> None: ...


class Live:
    """`async for told in live`, or `async with` it first, to know that it is told from then on.

    Taking raises what ended the query: an `ObjectQLError` that no repetition helps against.
    """

    def __init__(
        self,
        connection: Connection,
        document: Mapping[str, Any],
        *,
        snapshot: bool,
        since: str | None,
    ) -> None:
        self._connection = connection
        self._document = dict(document)
        self._snapshot = snapshot
        self._missed: str | None = None
        self._waiting: deque[Told] = deque()
        self._news = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._error: BaseException | None = None
        self._is_open = False
        self.cursor = since
        """Behind what was told last; another client may go on from here with `since`."""

    async def __aenter__(self) -> Self:
        self._is_open = True
        self._connection.add(self)
        try:
            await self._subscribed.wait()
        except BaseException:
            self.close()
            raise
        if self._error is not None:
            self.close()
            raise self._error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hear no more."""
        if self._is_open:
            self._is_open = False
            self._connection.remove(self)

    async def __aiter__(self) -> AsyncGenerator[Told]:
        """What is told, in order, without an end."""
        async with nullcontext() if self._is_open else self:
            while True:
                yield await self._next()

    async def states(self) -> AsyncGenerator[list[Record]]:
        """All records that match, sorted by id: now, and again after every commit.

        Commits that wait are put together. Needs `snapshot`.
        """
        records: dict[str, Record] = {}
        async with aclosing(self.__aiter__()) as all_told:
            async for told in all_told:
                apply(told, records)
                while self._waiting:
                    apply(await self._next(), records)
                yield [records[id] for id in sorted(records)]

    async def _next(self) -> Told:
        while not self._waiting:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        told = self._waiting.popleft()
        self.cursor = told.cursor
        if not self._waiting:
            self._connection.ask_again(self)
        return told

    # --- for the connection ------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether so much waits that nothing more may be told."""
        return len(self._waiting) >= WAITING

    def request(self) -> dict[str, Any]:
        """The frame that asks for what is still to be told, without its type and name."""
        heard = self._waiting[-1].cursor if self._waiting else self.cursor
        if heard is not None and self._missed is None:
            return self._document | {"from": heard}
        return self._document | ({"snapshot": True} if self._snapshot else {})

    def take(self, frame: dict[str, Any]) -> None:
        """Take in an answer or an event of the server's."""
        if frame["type"] != "subscribed":
            self._tell(told_by(frame))
            return
        reason, self._missed = self._missed, None
        if "items" in frame:
            self._tell(Snapshot(tuple(frame["items"]), frame["cursor"], reason))
        elif reason is not None:
            self._tell(Missed(reason, frame["cursor"]))
        elif not self._waiting:
            self.cursor = frame["cursor"]
        self._subscribed.set()

    def lose(self, reason: str) -> None:
        """Something was missed: what is told next says so."""
        self._missed = reason

    def fail(self, error: BaseException) -> None:
        """End with `error`, after what waits was taken."""
        self._error = error
        self._subscribed.set()
        self._news.set()

    def _tell(self, told: Told) -> None:
        self._waiting.append(told)
        self._news.set()
