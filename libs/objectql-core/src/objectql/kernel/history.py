"""The history of a record as its reader may see it.

What is kept are whole events (`drivers.history`); what is told is who changed which fields when,
and of these only the fields that the reader may read. Nothing is told of a record that the reader
cannot get.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from objectql.drivers.history import is_marker
from objectql.errors import InvalidQuery, NotSupported, RecordNotFound, TooManyRecords
from objectql.events import ChangeEvent
from objectql.kernel.access import visible_members
from objectql.kernel.engine import Engine
from objectql.kernel.json import encode_json
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.metadata.model import ObjectDef, system_fields
from objectql.plugins.context import Api
from objectql.query.cursor import decode_cursor, encode_cursor
from objectql.wire.messages import GetRequest, HistoryRequest, PageReply

_UNTOLD: Final = frozenset(field.name for field in system_fields())
"""Ids, stamps and versions: the entry itself says who, when and which version."""

MAX_ENTRIES: Final = 100
"""Of one page, and what a page has unless it is told: each entry is read with two whole images."""

MAX_BYTES: Final = 512 * 1024
"""Of one page; the bus takes messages of twice that."""


class HistoryReader:
    """Answers the verb `history`."""

    def __init__(self, engine: Engine, reader: Reader) -> None:
        self._engine = engine
        self._reader = reader

    async def page(self, request: HistoryRequest, scope: Scope, api: Api) -> PageReply:
        """Entries of one record, the latest first; fewer than asked for where they are large.

        Of a deleted record those may hear who may read every record of the object. For others an
        id that was used again has the history of the record that has it now.

        Raises:
            ObjectUnknown, PermissionDenied
            NotSupported: the object does not keep its history.
            RecordNotFound: there is no record, and was none, that the caller may see.
            TooManyRecords, InvalidQuery: the page's size, or its cursor.

        """
        object_ = scope.model.object(request.object)
        scope.policy.check_read(object_)
        if not object_.enable.track_history:
            raise NotSupported(feature=f"history of {object_.name}, which does not track it,")
        limit = MAX_ENTRIES if request.limit is None else request.limit
        if limit > MAX_ENTRIES:
            raise TooManyRecords(requested=limit, max=MAX_ENTRIES)
        if limit < 1:
            raise InvalidQuery(reason="a page has one entry or more", path="limit")
        digest = blake2b(f"{object_.name}/{request.id}".encode(), digest_size=8).hexdigest()
        before = None if request.after is None else position_of(request.after, digest)
        reads_all = scope.policy.reads_all(object_.name)
        is_there = await self._is_there(request, scope, api)
        if not is_there and not reads_all:
            raise RecordNotFound(object=object_.name, id=request.id)
        history = self._engine.driver(object_).history
        tenant = scope.context.tenant
        if not is_there:
            latest = await history.of_record(tenant, object_.name, request.id, limit=1)
            if not latest or latest[0][1].kind != "deleted":
                raise RecordNotFound(object=object_.name, id=request.id)
        found = await history.of_record(
            tenant, object_.name, request.id, limit=limit + 1, before=before
        )
        return _reply(found, limit, digest, _Telling(object_, scope, reads_all=reads_all))

    async def _is_there(self, request: HistoryRequest, scope: Scope, api: Api) -> bool:
        try:
            await self._reader.get_image(GetRequest(request.object, request.id), scope, api)
        except RecordNotFound:
            return False
        return True


class _Telling:
    """What one reader hears of events of one object."""

    def __init__(self, object_: ObjectDef, scope: Scope, *, reads_all: bool) -> None:
        access = scope.policy.access(object_.name)
        self._access = access
        self._fields = [
            field.name
            for field in object_.readable_fields
            if field.name not in _UNTOLD
            and (access.readable is None or field.name in access.readable)
        ]
        self._reads_all = reads_all

    def ends_at(self, event: ChangeEvent) -> bool:
        """Whether what came before `event` was another record, which the reader may not know."""
        return event.kind == "created" and not self._reads_all

    def entry(self, event: ChangeEvent) -> bytes:
        """The event as JSON, with the fields that changed."""
        # Under a mask first: a change that it hides is none for this reader.
        old, new = self._image(event.before), self._image(event.after)
        changes = {
            name: {"old": before, "new": after}
            for name in self._fields
            if (before := old.get(name, _NULL)) != (after := new.get(name, _NULL))
        }
        return encode_json(
            {
                "id": event.id,
                "at": event.at,
                "actor": event.actor,
                "operation": event.kind,
                "version": event.version,
                "request_id": event.request_id,
                "from": origin_of(event.origin),
                "changes": changes,
            }
        )

    def _image(self, text: bytes | None) -> Mapping[str, msgspec.Raw]:
        members = {} if text is None else _fields(text)
        if not self._access.masks:
            return members
        markers = {name: value for name, value in members.items() if is_marker(value)}
        others = {name: value for name, value in members.items() if name not in markers}
        return visible_members(self._access, others) | markers


def origin_of(text: str) -> dict[str, str] | None:
    """Where the caller called from (see `Context.origin`), for clients; None where nobody called."""
    agent, _, address = text.partition(" ")
    return {"address": address, "agent": agent} if address else None


_NULL: Final = msgspec.Raw(b"null")
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
"""Values stay text: the database wrote both images alike, and no digit of a number is lost."""


def _reply(
    found: Sequence[tuple[int, ChangeEvent]], limit: int, digest: str, telling: _Telling
) -> PageReply:
    entries: list[bytes] = []
    size, last = 0, 0
    has_next = False
    for position, event in found:
        entry = telling.entry(event)
        if len(entries) == limit or (entries and size + len(entry) > MAX_BYTES):
            has_next = True
            break
        entries.append(entry)
        size += len(entry)
        last = position
        if telling.ends_at(event):
            break
    return PageReply(
        items=b"[" + b",".join(entries) + b"]",
        count=len(entries),
        limit=limit,
        has_next=has_next,
        next=encode_cursor(digest, encode_json([last])) if has_next else None,
    )


def position_of(cursor: str, digest: str) -> int:
    """The position in a cursor that was made of one, for the list with that digest.

    Raises:
        InvalidQuery: it was made of something else.

    """
    values = decode_cursor(cursor, digest)
    position = values[0] if len(values) == 1 else None
    if not isinstance(position, int) or isinstance(position, bool) or not 0 < position < 2**63:
        raise InvalidQuery(reason="this is not a cursor of an earlier page", path="after")
    return position
