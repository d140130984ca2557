"""From the path of a call to what runs it.

Services of objects come and go with the metadata, so a path is looked up when it is called. To
strangers all of them are alike: whether there is an object, only callers who are known are told.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any, Final

import grpc

from objectql.errors import NotSupported
from objectql.protobuf.calls import Call
from objectql.protobuf.generic_service import GENERIC
from objectql.protobuf.objects import PACKAGE
from objectql.protobuf.rpcs import Rpc
from objectql_gateway_grpc.calls import Calls
from objectql_gateway_grpc.catalog import Catalog, Codec
from objectql_gateway_grpc.request import Request, ServerContext
from objectql_gateway_grpc.verbs import VERBS, Verb

UNROUTED: Final = "unrouted"
"""How calls of methods are counted that do not exist."""

_PACKAGES: Final = (f"/{PACKAGE}.", f"/{GENERIC.service.rpartition('.')[0]}.")
_LABELS: Final = 5000
"""Methods that are counted by name; those of further objects are counted together."""


class Method:
    """What grpc calls for one path."""

    def __init__(self, calls: Calls, catalog: Catalog, path: str, label: str) -> None:
        self._calls = calls
        self._catalog = catalog
        self._path = path
        self._service, _, self._name = path[1:].rpartition("/")
        self._label = label

    async def of_one(self, message: bytes, rpc: ServerContext) -> bytes | None:
        """What answers one message, be it by one or, sent by itself, by several."""
        return await self._calls.run(self._label, rpc, partial(self._of_one, message))

    async def of_many(self, messages: AsyncIterator[bytes], rpc: ServerContext) -> bytes | None:
        """The same for several messages."""
        return await self._calls.run(self._label, rpc, partial(self._of_many, messages))

    async def _of_one(self, message: bytes, request: Request) -> bytes | None:
        codec, rpc, verb = self._find(request)
        return await verb.work(request, rpc.read(message), codec)

    async def _of_many(self, messages: AsyncIterator[bytes], request: Request) -> bytes | None:
        codec, rpc, verb = self._find(request)
        return await verb.work(request, _read(messages, rpc), codec)

    def _find(self, request: Request) -> tuple[Codec, Rpc, Verb]:
        codec = self._catalog.codec(self._service, request.context.actor)
        rpc = None if codec is None else codec.rpcs.get(self._name)
        verb = None if rpc is None else VERBS.get(rpc.verb)
        if codec is None or rpc is None or verb is None:
            raise NotSupported(feature=self._path[:200])
        return codec, rpc, verb


async def _read(messages: AsyncIterator[bytes], rpc: Rpc) -> AsyncIterator[Call]:
    # No generator expression: that would begin with `messages` even where nobody asks for one,
    # which grpc's receiver takes for a mistake.
    async for message in messages:
        yield rpc.read(message)


class Router(grpc.GenericRpcHandler):
    """Finds the handler of a path; those of other packages are somebody else's."""

    def __init__(self, calls: Calls, catalog: Catalog) -> None:
        self._calls = calls
        self._catalog = catalog
        self._edition: object = None
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._labels: set[str] = set()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """See `grpc.GenericRpcHandler`."""
        path = handler_call_details.method
        edition = self._catalog.current
        if edition is not self._edition:
            self._edition = edition
            self._handlers.clear()
        found = self._handlers.get(path)
        if found is None:
            if not path.startswith(_PACKAGES):
                return None
            verb = self._catalog.verb(path)
            if verb is None:  # not kept: there is no end of such paths
                return self._handler(path, UNROUTED, None)
            found = self._handlers[path] = self._handler(path, self._label(path), VERBS.get(verb))
        return found

    def _handler(self, path: str, label: str, verb: Verb | None) -> grpc.RpcMethodHandler[Any, Any]:
        method = Method(self._calls, self._catalog, path, label)
        takes_many = verb is not None and verb.takes_many
        make = _MAKERS[takes_many, verb is not None and verb.sends_many]
        return make(method.of_many if takes_many else method.of_one)

    def _label(self, path: str) -> str:
        label = path.rpartition(".")[2]
        if label not in self._labels and len(self._labels) >= _LABELS:
            return "other"
        self._labels.add(label)
        return label


_MAKERS: Final[Mapping[tuple[bool, bool], Callable[..., grpc.RpcMethodHandler[Any, Any]]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
