"""All records that a query names, page by page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol, TypeVar

import msgspec

from objectql.errors import InvalidQuery
from objectql.query.ast import Query


class Page(Protocol):
    """What is needed of `ExportReply` and of `PageReply`."""

    @property
    def count(self) -> int: ...
    @property
    def next(self) -> str | None: ...


P = TypeVar("P", bound=Page)


def exported(query: Query) -> Query:
    """`query` as one of an export; its limit, if it has one, is of the whole.

    Raises:
        InvalidQuery: it is of groups.

    """
    if query.is_aggregate or query.distinct:
        raise InvalidQuery(reason="an export is of records, not of groups or plans")
    return msgspec.structs.replace(query, count="none")


async def pages(
    query: Query,
    ask: Callable[[Query], Awaitable[P]],
    *,
    size: Callable[[], int],
    go_on: Callable[[], Awaitable[None]],
) -> AsyncGenerator[P]:
    """The pages of `query`, each as of its own moment.

    `size` is asked before each page how many records it may have; `go_on` is awaited between two:
    each page has the time of a request, and a caller whose right has ended gets no more.
    """
    left = query.limit
    while True:
        most = size() if left is None else min(size(), left)
        reply = await ask(msgspec.structs.replace(query, limit=most))
        yield reply
        if left is not None:
            left -= reply.count
        if reply.next is None or left == 0:
            return
        query = msgspec.structs.replace(query, after=reply.next, offset=None)
        await go_on()


async def ahead(
    found: AsyncGenerator[P], *, learn: Callable[[P], None] = lambda _: None
) -> AsyncGenerator[P]:
    """`found`, each page asked for while the one before is used; `learn` sees it before that.

    To be closed (`contextlib.aclosing`): what is being asked for then is cancelled.
    """
    coming = asyncio.ensure_future(anext(found, None))
    try:
        while (page := await coming) is not None:
            learn(page)
            coming = asyncio.ensure_future(anext(found, None))
            yield page
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await found.aclose()
