"""Reflection: which services there are for the caller, with the fields that the caller may read.

Both versions of the protocol are served, whose messages are the same byte for byte. Strangers are
told nothing. Source: grpc/reflection/v1/reflection.proto.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2 as pb
from grpc_reflection.v1alpha.reflection import aio

from objectql.context import Actor
from objectql.errors import InvalidRequest
from objectql.protobuf.descriptors import pool_of
from objectql.protobuf.generic import FILE
from objectql.protobuf.generic_service import GENERIC
from objectql.protobuf.services import ObjectCodec
from objectql_gateway_grpc.calls import Calls
from objectql_gateway_grpc.catalog import Catalog, Edition
from objectql_gateway_grpc.health import SERVICE as HEALTH
from objectql_gateway_grpc.request import Request, ServerContext

SERVICES: Final = (
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
)
_LABEL: Final = "ServerReflection/ServerReflectionInfo"
_KEPT: Final = 32
"""Sets of fields that callers may read whose descriptors are kept."""


class ReflectionService:
    """Answers from the newest metadata, for each caller on their own."""

    def __init__(self, calls: Calls, catalog: Catalog) -> None:
        self._calls = calls
        self._catalog = catalog
        self._edition: Edition | None = None
        self._known: dict[tuple[ObjectCodec, ...], aio.ReflectionServicer] = {}

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """What the server is given."""
        method: grpc.RpcMethodHandler[Any, Any]
        method = grpc.stream_stream_rpc_method_handler(self._serve)
        return [
            grpc.method_handlers_generic_handler(each, {"ServerReflectionInfo": method})
            for each in SERVICES
        ]

    async def _serve(self, messages: AsyncIterator[bytes], rpc: ServerContext) -> None:
        await self._calls.run(_LABEL, rpc, partial(self._answer, messages))

    async def _answer(self, messages: AsyncIterator[bytes], request: Request) -> None:
        servicer: Any = self._servicer(
            request.context.actor
        )  # an async generator; its stub has none
        asked = (_read(message) async for message in messages)
        async for answer in servicer.ServerReflectionInfo(asked, None):
            await request.send(answer.SerializeToString())

    def _servicer(self, actor: Actor) -> aio.ReflectionServicer:
        edition = self._catalog.edition
        if edition is not self._edition:
            self._edition = edition
            self._known.clear()
        codecs = tuple(edition.codecs(actor))
        found = self._known.get(codecs)
        if found is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[codecs] = _describe(codecs)
        return found


def _describe(codecs: tuple[ObjectCodec, ...]) -> aio.ReflectionServicer:
    pool = pool_of([FILE, *(codec.file for codec in codecs)])
    for standard in _STANDARD:
        pool.AddSerializedFile(standard)
    names = [GENERIC.service, HEALTH, *SERVICES, *(codec.service for codec in codecs)]
    return aio.ReflectionServicer(names, pool=pool)


def _read(message: bytes) -> pb.ServerReflectionRequest:
    try:
        return pb.ServerReflectionRequest.FromString(message)
    except DecodeError as exc:
        raise InvalidRequest(reason="the message is malformed") from exc


def _first_version(alpha: bytes) -> bytes:
    """The file of version 1, which is that of `v1alpha` by another name."""
    file = FileDescriptorProto.FromString(alpha)
    file.name = file.name.replace("v1alpha", "v1")
    file.package = file.package.replace("v1alpha", "v1")
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace("v1alpha", "v1")
    for method in file.service[0].method:
        method.input_type = method.input_type.replace("v1alpha", "v1")
        method.output_type = method.output_type.replace("v1alpha", "v1")
    return file.SerializeToString()


_STANDARD: Final = (
    health_pb2.DESCRIPTOR.serialized_pb,
    pb.DESCRIPTOR.serialized_pb,
    _first_version(pb.DESCRIPTOR.serialized_pb),
)
