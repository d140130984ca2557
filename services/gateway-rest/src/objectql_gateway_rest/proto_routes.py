"""`/api/meta/proto`: Protocol Buffers of the objects, with the fields that the caller may read."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from objectql.errors import ObjectUnknown
from objectql.ids import ObjectName
from objectql.metadata.model import ObjectDef
from objectql.protobuf.generic import FILE
from objectql.protobuf.model import ProtoFile
from objectql.protobuf.objects import proto_file, proto_files
from objectql.protobuf.text import text_of
from objectql.service.data.answers import to_json
from objectql.service.readers import readable_by
from objectql_gateway_rest.asgi import JSON, Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.representation import digest_etag, is_not_modified
from objectql_gateway_rest.routes import Route

_TEXT: Final = b"text/plain; charset=utf-8"


class _Reader:
    """What a caller may read of the published objects."""

    def __init__(self, call: Call) -> None:
        self.snapshot = call.services.metadata.snapshot
        self._readable = readable_by(self.snapshot, call.context.actor)

    def fields(self, definition: ObjectDef) -> Collection[str] | None:
        return self._readable(definition.name)

    def file(self, name: str) -> ProtoFile:
        definition = self.snapshot.object(name)
        numbers = self.snapshot.numbers.get(ObjectName(name))
        if numbers is None:  # one of the system
            raise ObjectUnknown(object=name, suggestions=())
        return proto_file(definition, numbers, self.fields(definition))


async def files(call: Call) -> Response:  # noqa: RUF029 - a route is a coroutine
    reader = _Reader(call)
    found = proto_files(reader.snapshot.objects.values(), reader.snapshot.numbers, reader.fields)
    items = [{"path": each.path, "content": text_of(each)} for each in (FILE, *found.values())]
    return _answer(call, to_json({"items": items}), JSON)


async def file(call: Call, object: str) -> Response:  # noqa: RUF029 - a route is a coroutine
    return _answer(call, text_of(_Reader(call).file(object)).encode(), _TEXT)


def _answer(call: Call, body: bytes, content_type: bytes) -> Response:
    tag = digest_etag(body)
    headers = [(b"etag", tag), (b"vary", b"Authorization, X-API-Key")]
    if is_not_modified(call.request, tag):
        return Response(status=304, headers=headers)
    return Response(body, content_type=content_type, headers=headers)


ROUTES = (
    Route("GET", "/api/meta/proto", files),
    Route("GET", "/api/meta/proto/{object}", file),
)
