"""`Client`: the whole API of a cluster for one caller."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote, urlsplit

import msgspec

from objectql.client.backoff import Patience
from objectql.client.changes import Record
from objectql.client.credentials import Credentials, credentials_of
from objectql.client.live import Live
from objectql.client.operations import BatchResult, Operation, Transaction
from objectql.client.repeating import Times
from objectql.client.sockets import LiveConnection
from objectql.client.transport import Transport


class Page(msgspec.Struct, frozen=True):
    """Records of a query; `next` is the `after` of the following page, `total` what `count` asked."""

    items: tuple[Record, ...]
    has_next: bool
    next: str | None = None
    total: int | None = None


class Client:
    """Talks to one cluster, as one caller. Close it, or use it in `async with`.

    Everything may raise an `objectql.errors.ObjectQLError`: the same classes as in the server. What may
    help against one by itself, this does: it sends again, with pauses, what is safe to send again,
    fetches a fresh token, and connects anew.

    Args:
        url: The REST gateway, as `http://127.0.0.1:8080`.
        credentials: A token or API key, a function that fetches a token whenever one is needed,
            or a `SignIn`.
        live_url: The WebSocket gateway; by default `/ws` beside `url`.
        times: How long attempts and calls may take.
        patience: The pauses between attempts.

    """

    def __init__(
        self,
        url: str,
        credentials: str | Callable[[], Awaitable[str]] | Credentials,
        *,
        live_url: str | None = None,
        times: Times | None = None,
        patience: Patience | None = None,
    ) -> None:
        who, patience = credentials_of(credentials), patience or Patience()
        self._transport = Transport(url, who, times=times or Times(), patience=patience)
        self._live = LiveConnection(
            live_url or _beside(url), who, self._transport.post, patience=patience
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection; live queries that are open fail."""
        await self._live.close()
        await self._transport.close()

    # --- reading -------------------------------------------------------------------------------

    async def get(
        self, object: str, id: str, *, fields: Sequence[str] = (), expand: Sequence[str] = ()
    ) -> Record:
        """The record.

        Raises:
            RecordNotFound: there is none, for this caller.

        """
        asked = [("$select", ",".join(fields)), ("$expand", ",".join(expand))]
        query = "&".join(f"{name}={quote(text)}" for name, text in asked if text)
        path = _path(object, id)
        return await self._transport.read("GET", f"{path}?{query}" if query else path)

    async def find(
        self,
        object: str,
        where: Any = None,
        *,
        fields: Sequence[str] | None = None,
        order_by: str | Sequence[Any] | None = None,
        expand: Any = None,
        search: str | None = None,
        limit: int | None = None,
        offset: int | None = None,
        after: str | None = None,
        count: bool | Literal["exact", "estimated"] | None = None,
    ) -> Page:
        """One page of the records that match."""
        document = {
            "where": where,
            "fields": fields,
            "orderBy": order_by,
            "expand": expand,
            "search": search,
            "limit": limit,
            "offset": offset,
            "after": after,
            "count": count,
        }
        return await self.query(object, {k: v for k, v in document.items() if v is not None})

    async def query(self, object: str, document: Mapping[str, Any]) -> Page:
        """One page of what a whole query asks for."""
        answer = await self._transport.read("POST", f"{_path(object)}/query", document)
        meta = answer["meta"]
        return Page(tuple(answer["items"]), meta["has_next"], meta.get("next"), meta.get("total"))

    async def query_all(self, object: str, document: Mapping[str, Any]) -> AsyncGenerator[Record]:
        """All records that a query asks for, page after page, each once."""
        after: str | None = None
        while True:
            page = await self.query(
                object, document if after is None else {**document, "after": after}
            )
            for item in page.items:
                yield item
            after = page.next
            if after is None:
                return

    async def aggregate(self, object: str, document: Mapping[str, Any]) -> list[Record]:
        """The groups that a query with `groupBy` and `aggregations` asks for."""
        answer = await self._transport.read("POST", f"{_path(object)}/aggregate", document)
        return answer["items"]

    async def metadata(self, type: str, name: str | None = None) -> Any:
        """A document of the metadata, or without `name` all of a type."""
        path = f"/api/meta/{quote(type, safe='')}"
        if name is not None:
            return await self._transport.read("GET", f"{path}/{quote(name, safe='')}")
        return (await self._transport.read("GET", path))["items"]

    # --- writing -------------------------------------------------------------------------------
    # `key` is the idempotency key. Whoever wants a write to happen once although the whole program
    # may start anew gives one that it can give again; else each call has its own.

    async def create(
        self, object: str, data: Mapping[str, Any], *, key: str | None = None
    ) -> Record:
        """The record as it was made."""
        return await self._transport.write("POST", _path(object), data, key=key)

    async def update(
        self,
        object: str,
        id: str,
        data: Mapping[str, Any],
        *,
        if_version: int | None = None,
        key: str | None = None,
    ) -> Record:
        """The record after the change of the fields in `data`.

        Raises:
            VersionConflict: it is not the version `if_version` any more.

        """
        headers = _if_match(if_version)
        return await self._transport.write(
            "PATCH", _path(object, id), data, key=key, headers=headers
        )

    async def replace(
        self,
        object: str,
        id: str,
        data: Mapping[str, Any],
        *,
        if_version: int | None = None,
        key: str | None = None,
    ) -> Record:
        """The record after the change: fields that `data` lacks become their default or null."""
        headers = _if_match(if_version)
        return await self._transport.write("PUT", _path(object, id), data, key=key, headers=headers)

    async def delete(
        self, object: str, id: str, *, if_version: int | None = None, key: str | None = None
    ) -> None:
        """Delete the record."""
        headers = _if_match(if_version)
        await self._transport.write("DELETE", _path(object, id), key=key, headers=headers)

    async def bulk(
        self, object: str, document: Mapping[str, Any], *, key: str | None = None
    ) -> dict[str, Any]:
        """The answer of `POST /api/{object}/bulk`: one result per record."""
        return await self._transport.write("POST", f"{_path(object)}/bulk", document, key=key)

    async def batch(
        self,
        operations: Sequence[Operation],
        *,
        atomic: bool = True,
        isolation: Literal["read_committed", "repeatable_read", "serializable"] | None = None,
        key: str | None = None,
    ) -> BatchResult:
        """What became of `operations` (see `objectql.client.operations`), all or none if `atomic`."""
        document: dict[str, Any] = {"operations": list(operations), "atomic": atomic}
        if isolation is not None:
            document["isolation"] = isolation
        answer = await self._transport.write("POST", "/api/batch", document, key=key)
        return msgspec.convert(answer, BatchResult)

    async def transaction(self, id: str) -> Transaction:
        """How a transaction of a batch stands."""
        path = f"/api/transactions/{quote(id, safe='')}"
        return msgspec.convert(await self._transport.read("GET", path), Transaction)

    async def act(
        self,
        object: str,
        action: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        key: str | None = None,
    ) -> Any:
        """What an action returns, of a record if `id` is given."""
        path = f"{_path(object, id)}/actions/{quote(action, safe='')}"
        return await self._transport.write("POST", path, parameters or {}, key=key)

    # --- hearing -------------------------------------------------------------------------------

    def live(
        self,
        object: str,
        where: Any = None,
        *,
        fields: Sequence[str] | None = None,
        record: str | None = None,
        snapshot: bool = False,
        since: str | None = None,
        mode: Literal["changes", "live"] | None = None,
    ) -> Live:
        """A live query: `async for told in client.live(...)`.

        Args:
            object: What the records are.
            where: Which of them; a filter as in a query.
            fields: What is told of them; by default all that the caller may read.
            record: The id, for one record only.
            snapshot: Tell the records that match now first, and again if something was missed.
            since: The `cursor` of an earlier live query with the same question: go on behind it.
            mode: `changes` tells every change, `live` the latest of each record.

        """
        given = {"where": where, "fields": fields, "record": record, "mode": mode}
        document = {"object": object} | {k: v for k, v in given.items() if v is not None}
        return Live(self._live, document, snapshot=snapshot, since=since)


def _path(object: str, id: str | None = None) -> str:
    path = f"/api/{quote(object, safe='')}"
    return path if id is None else f"{path}/{quote(id, safe='')}"


def _if_match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}


def _beside(url: str) -> str:
    parts = urlsplit(url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return parts._replace(scheme=scheme, path=f"{parts.path.rstrip('/')}/ws").geturl()
