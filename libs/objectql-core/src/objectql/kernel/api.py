"""`ctx.api` of hooks and actions: data operations as the same caller, in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

import msgspec

from objectql.errors import RecordNotFound
from objectql.kernel.access import shown
from objectql.kernel.change import Change
from objectql.kernel.json import decode_json
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.query.parse import parse_query
from objectql.wire.messages import FindRequest, GetRequest


class Writes(Protocol):
    """Where writes go: into one transaction, or each into its own. `depth` counts nested calls."""

    async def create(
        self, object_name: str, data: Mapping[str, Any], *, depth: int = 0
    ) -> Change: ...
    async def update(
        self, object_name: str, id_: str, data: Mapping[str, Any], *, depth: int = 0
    ) -> Change: ...
    async def delete(self, object_name: str, id_: str, *, depth: int = 0) -> Change: ...


class DataApi:
    """See `objectql.plugins.context.Api`."""

    def __init__(self, reader: Reader, scope: Scope, writes: Writes, depth: int) -> None:
        self._reader = reader
        self._scope = scope
        self._writes = writes
        self._depth = depth

    async def find(
        self, object: str, query: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """The records that match, all of them unless `limit` is given."""
        request = FindRequest(parse_query(query or {}, object=object))
        reply = await self._reader.find(request, self._scope, self, is_internal=True)
        return cast("list[dict[str, Any]]", decode_json(reply.items))

    async def find_one(
        self, object: str, query: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """The first record that matches."""
        parsed = msgspec.structs.replace(parse_query(query or {}, object=object), limit=1)
        reply = await self._reader.find(FindRequest(parsed), self._scope, self, is_internal=True)
        found = cast("list[dict[str, Any]]", decode_json(reply.items))
        return found[0] if found else None

    async def get(self, object: str, id: str) -> dict[str, Any] | None:
        """The record, if there is one that the caller may see."""
        try:
            reply = await self._reader.get(GetRequest(object, id), self._scope, self)
        except RecordNotFound:
            return None
        return cast("dict[str, Any]", decode_json(reply.record))

    async def count(self, object: str, query: Mapping[str, Any] | None = None) -> int:
        """How many records match."""
        return await self._reader.count(parse_query(query or {}, object=object), self._scope, self)

    async def create(self, object: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """The new record."""
        change = await self._writes.create(object, data, depth=self._depth)
        return self._shown(object, change)

    async def update(self, object: str, id: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """The changed record.

        Raises:
            RecordNotFound: there is none.

        """
        change = await self._writes.update(object, id, data, depth=self._depth)
        return self._shown(object, change)

    def _shown(self, object: str, change: Change) -> dict[str, Any]:
        scope = self._scope
        name = scope.model.object(object).name
        found = shown(change, name, scope.policy, scope.model, scope.context.actor)
        return cast("dict[str, Any]", decode_json(found.record))

    async def delete(self, object: str, id: str) -> bool:
        """Whether there was such a record."""
        try:
            await self._writes.delete(object, id, depth=self._depth)
        except RecordNotFound:
            return False
        return True
