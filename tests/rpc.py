"""Calls of gRPC by JSON, with messages made at run time; what fails is raised as the error it tells."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from objectql.errors import ObjectQLError
from objectql.protobuf.descriptors import pool_of
from objectql.protobuf.generic import FILE
from objectql.protobuf.model import ProtoFile
from objectql.protobuf.status import DETAILS_KEY, error_of

Document = dict[str, Any]


class Rpc:
    """A client of one server, for whom `headers` are sent with every call."""

    def __init__(
        self,
        target: str,
        headers: Mapping[str, str] | None = None,
        *,
        files: Iterable[ProtoFile] = (FILE,),
        pool: DescriptorPool | None = None,
    ) -> None:
        self.channel: Any = aio.insecure_channel(target)
        self._headers = dict(headers or {})
        self._pool = pool or pool_of(files)
        self.trailers: dict[str, Any] = {}
        """Of the last call that has ended."""

    async def close(self) -> None:
        await self.channel.close()

    async def one(self, path: str, body: Document | bytes, **told: Any) -> Document:
        """The answer of a method with one, as JSON with the names of the file."""
        call = self._call(path, self.channel.unary_unary, told, body)
        return self._read(path, await self._ended(call))

    async def many(self, path: str, body: Document | bytes, **told: Any) -> list[Document]:
        """The answers of a stream."""
        call = self._call(path, self.channel.unary_stream, told, body)
        return [self._read(path, each) for each in await self._ended(_all(call), call)]

    async def collect(self, path: str, bodies: Iterable[Document | bytes], **told: Any) -> Document:
        """The answer to a stream."""

        async def messages() -> AsyncIterator[bytes]:
            for body in bodies:
                yield self._written(path, body)

        call = self._call(path, self.channel.stream_unary, told, messages())
        return self._read(path, await self._ended(call))

    def stream(self, path: str, body: Document | bytes, **told: Any) -> Any:
        """The call of a stream, whose messages are bytes."""
        return self._call(path, self.channel.unary_stream, told, body)

    def _call(self, path: str, kind: Any, told: Mapping[str, Any], body: Any) -> Any:
        timeout_s = told.get("timeout_s", 30)
        headers = self._headers | told.get("headers", {})
        sent = body if hasattr(body, "__anext__") else self._written(path, body)
        metadata = tuple((name, text) for name, text in headers.items() if text is not None)
        return kind(f"/{path}")(sent, timeout=timeout_s, metadata=metadata)

    async def _ended(self, answer: Any, call: Any = None) -> Any:
        try:
            return await answer
        except aio.AioRpcError as exc:
            self.trailers = dict(exc.trailing_metadata() or ())
            details = self.trailers.get(DETAILS_KEY)
            raise error_of(exc.code().value[0], exc.details() or "", details) from exc
        finally:
            ended = call or answer
            if ended.done() and not self.trailers:
                self.trailers = {}
            if ended.done():
                self.trailers = dict(await ended.trailing_metadata() or ())

    def _method(self, path: str) -> Any:
        service, _, name = path.rpartition("/")
        return self._pool.FindServiceByName(service).FindMethodByName(name)

    def _written(self, path: str, body: Document | bytes) -> bytes:
        if isinstance(body, bytes):
            return body
        message = GetMessageClass(self._method(path).input_type)()
        json_format.ParseDict(body, message, descriptor_pool=self._pool)
        return message.SerializeToString()

    def _read(self, path: str, message: bytes) -> Document:
        found = GetMessageClass(self._method(path).output_type).FromString(message)
        return json_format.MessageToDict(
            found, preserving_proto_field_name=True, descriptor_pool=self._pool
        )


async def _all(call: Any) -> list[bytes]:
    return [message async for message in call]


async def refusal(call: Any) -> ObjectQLError:
    """The error that `call` ends with."""
    try:
        answer = await call
    except ObjectQLError as exc:
        return exc
    raise AssertionError(f"it was answered: {answer}")
