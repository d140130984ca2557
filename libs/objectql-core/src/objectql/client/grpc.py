"""`GrpcClient`: the generic service of gRPC for Python programs, with records as plain values.

    async with GrpcClient("127.0.0.1:50051", token) as client:
        await client.create("account", {"name": "Acme"})
        async for account in client.query("account", {"where": {"industry": "energy"}}):
            ...

Calls are repeated as those of `Client` are, under the same idempotency keys, and raise the same errors. A
stream is begun anew only before its first message, by the channel itself. Several gateways behind one
name are asked in turn. Typed messages are for generated code: `.proto` files come from the gateway.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias

import grpc
import grpc.aio
import msgspec
from google.rpc.status_pb2 import Status

from objectql.client.backoff import Patience
from objectql.client.changes import Record
from objectql.client.client import Page
from objectql.client.credentials import Credentials, credentials_of
from objectql.client.operations import BatchResult, Operation, Transaction
from objectql.client.repeating import Times, UnansweredError, repeated
from objectql.client.written import Written
from objectql.errors import NotSupported, ObjectQLError
from objectql.ids import uuid7
from objectql.protobuf.generic import FILE
from objectql.protobuf.messages import codecs_of
from objectql.protobuf.status import DETAILS_KEY, error_of, error_of_status

BulkAction: TypeAlias = Literal["create", "update", "upsert", "delete"]
Metadata: TypeAlias = tuple[tuple[str, str], ...]

_Asker: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"
_Reader: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"
_Writer: TypeAlias = "grpc.aio.StreamUnaryMultiCallable[bytes, bytes]"

_TOKEN: Final = "oql-consistency-token"  # noqa: S105 - the name of a header
_SERVICE: Final = FILE.service_name
_STREAMS: Final = tuple(each.name for each in FILE.service.methods if each.is_stream)
_CODECS: Final = codecs_of(FILE.messages)
_RESPONSES: Final = {each.name: _CODECS[each.response] for each in FILE.service.methods}
_LOST: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
    }
)
"""Of a status without details of ours: nobody has answered."""

_SERVICE_CONFIG: Final = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{"service": _SERVICE, "method": name} for name in _STREAMS],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)


class BulkOutcome(msgspec.Struct, frozen=True):
    """How many records were written; `results` are those that were not, or all if asked for.

    A result has `index` (its place among all records), `id`, `outcome`, `version` and, if it failed, the
    `error` as every gateway tells it.
    """

    succeeded: int = 0
    failed: int = 0
    results: tuple[dict[str, Any], ...] = ()


class GrpcClient:
    """Talks to one cluster over gRPC, as one caller. Close it, or use it in `async with`.

    Args:
        target: The gateways, as `127.0.0.1:50051` or `dns:///gateways:50051`.
        credentials: A token or API key, a function that fetches a token whenever one is needed.
            Names with passwords are for `Client`.
        tls: What proves the server to be the one that is meant; None: the connection is plain.
        times: How long attempts and calls may take; streams take as long as they are read.
        patience: The pauses between attempts.
        cached: How many records are kept, so that one that has not changed is not sent again.

    """

    def __init__(
        self,
        target: str,
        credentials: str | Callable[[], Awaitable[str]] | Credentials,
        *,
        tls: grpc.ChannelCredentials | None = None,
        times: Times | None = None,
        patience: Patience | None = None,
        cached: int = 0,
    ) -> None:
        options = (("grpc.service_config", _SERVICE_CONFIG),)
        self._channel: Final = (
            grpc.aio.insecure_channel(target, options)
            if tls is None
            else grpc.aio.secure_channel(target, tls, options)
        )
        self._credentials: Final = credentials_of(credentials)
        self._times: Final = times or Times()
        self._patience: Final = patience or Patience()
        self._written: Final = Written()
        self._cached: Final = cached
        self._known: Final[OrderedDict[bytes, tuple[str, Record]]] = OrderedDict()

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
        """Close the connections; streams that are open fail."""
        await self._channel.close()

    # --- reading -------------------------------------------------------------------------------

    async def get(
        self, object: str, id: str, *, fields: Sequence[str] = (), expand: Sequence[str] = ()
    ) -> Record:
        """The record.

        Raises:
            RecordNotFound: there is none, for this caller.

        """
        values = {"object": object, "id": id, "read_mask": tuple(fields), "expand": expand}
        request = _CODECS["GetRequest"].write(values)
        # The tag is the record's; what stands in its relations may have changed without it.
        kept = None if expand else self._known.get(request)
        told: Metadata = () if kept is None else (("if-none-match", kept[0]),)
        answer, trailing = await self._unary("Get", request, told, writes=False)
        if kept is not None and "oql-not-modified" in trailing:
            self._known.move_to_end(request)
            return kept[1]
        record: Record = answer.get("record", {})
        if self._cached and not expand and "etag" in trailing:
            self._known[request] = (trailing["etag"], record)
            if len(self._known) > self._cached:
                self._known.popitem(last=False)
        return record

    async def list(
        self,
        object: str,
        *,
        filter: str = "",
        order_by: str = "",
        fields: Sequence[str] = (),
        expand: Sequence[str] = (),
        page_size: int = 0,
        page_token: str = "",
        count: bool = False,
    ) -> Page:
        """One page of the records that match; `filter` is as `$filter`, `order_by` as `$orderby`."""
        values = {
            "object": object,
            "filter": filter,
            "order_by": order_by,
            "read_mask": tuple(fields),
            "expand": expand,
            "page_size": page_size,
            "page_token": page_token,
            "count": count,
        }
        answer = await self._read("List", values)
        following: str | None = answer.get("next_page_token")
        items = tuple(answer.get("records", ()))
        return Page(items, following is not None, following, answer.get("total_size"))

    async def query(
        self, object: str, document: Mapping[str, Any], *, export: bool = False
    ) -> AsyncGenerator[Record]:
        """All records that a query asks for; `export` as one who may take them away."""
        method = "Export" if export else "Query"
        request = _CODECS[f"{method}Request"].write({"object": object, "query": document})
        reader: _Reader = self._channel.unary_stream(f"/{_SERVICE}/{method}")
        call = reader(request, metadata=await self._metadata(self._presented()))
        try:
            async for message in call:
                for record in _RESPONSES[method].read(message).get("records", ()):
                    yield record
        except grpc.aio.AioRpcError as exc:
            raise _error(exc) from exc
        finally:
            call.cancel()  # whoever stops reading wants no more

    async def aggregate(self, object: str, document: Mapping[str, Any]) -> Sequence[Record]:
        """The groups that a query with `groupBy` and `aggregations` asks for."""
        answer = await self._read("Aggregate", {"object": object, "query": document})
        return answer.get("groups", [])

    async def transaction(self, id: str) -> Transaction:
        """How a transaction of a batch stands."""
        return msgspec.convert(await self._read("GetTransaction", {"id": id}), Transaction)

    # --- writing -------------------------------------------------------------------------------
    # `key` is the idempotency key, as in `Client`.

    async def create(
        self, object: str, data: Mapping[str, Any], *, key: str | None = None
    ) -> Record:
        """The record as it was made."""
        return (await self._write("Create", {"object": object, "data": data}, key))["record"]

    async def update(
        self,
        object: str,
        id: str,
        data: Mapping[str, Any],
        *,
        if_version: int | None = None,
        replace: bool = False,
        key: str | None = None,
    ) -> Record:
        """The record after the change; with `replace`, fields that `data` lacks become null.

        Raises:
            VersionConflict: it is not the version `if_version` any more.

        """
        values = {"object": object, "id": id, "data": data, "if_version": if_version}
        return (await self._write("Update", {**values, "replace": replace}, key))["record"]

    async def delete(
        self, object: str, id: str, *, if_version: int | None = None, key: str | None = None
    ) -> None:
        """Delete the record."""
        await self._write("Delete", {"object": object, "id": id, "if_version": if_version}, key)

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
        values = {"object": object, "action": action, "id": id, "parameters": parameters or {}}
        return (await self._write("Action", values, key)).get("result")

    async def batch(
        self,
        operations: Sequence[Operation],
        *,
        atomic: bool = True,
        isolation: Literal["read_committed", "repeatable_read", "serializable"] | None = None,
        key: str | None = None,
    ) -> BatchResult:
        """What became of `operations` (see `objectql.client.operations`), all or none if `atomic`."""
        values = {
            "operations": [_operation(each) for each in operations],
            "atomic": atomic,
            "isolation": isolation,
        }
        answer = await self._write("Batch", values, key)
        transaction = msgspec.convert(answer.get("transaction"), Transaction | None)
        return BatchResult(tuple(map(_batch_result, answer.get("results", ()))), transaction)

    async def bulk(
        self,
        object: str,
        action: BulkAction,
        chunks: AsyncIterable[Sequence[Mapping[str, Any]]],
        *,
        match: Sequence[str] = (),
        report_all: bool = False,
        key: str | None = None,
    ) -> BulkOutcome:
        """What became of the records of all `chunks`, which are written one after the other.

        It is not repeated by itself; with the same `key` and chunks it may be, and nothing is
        written twice.
        """
        first = {"object": object, "action": action, "match": match, "report_all": report_all}

        async def messages() -> AsyncGenerator[bytes]:
            async for records in chunks:
                yield _CODECS["BulkWriteRequest"].write({**first, "records": records})

        metadata = await self._metadata((("idempotency-key", key or uuid7()),))
        writer: _Writer = self._channel.stream_unary(f"/{_SERVICE}/BulkWrite")
        call = writer(messages(), metadata=metadata)
        try:
            answer = await call
            self._remember(None, _texts(await call.trailing_metadata()))
        except grpc.aio.AioRpcError as exc:
            raise _error(exc) from exc
        told = _RESPONSES["BulkWrite"].read(answer)
        results = tuple(map(_with_error, told.get("results", ())))
        return BulkOutcome(told.get("succeeded", 0), told.get("failed", 0), results)

    # --- calls ---------------------------------------------------------------------------------

    async def _read(self, method: str, values: Mapping[str, Any]) -> dict[str, Any]:
        request = _CODECS[f"{method}Request"].write(values)
        return (await self._unary(method, request, (), writes=False))[0]

    async def _write(
        self, method: str, values: Mapping[str, Any], key: str | None
    ) -> dict[str, Any]:
        request = _CODECS[f"{method}Request"].write(values)
        told = (("idempotency-key", key or uuid7()),)
        return (await self._unary(method, request, told, writes=True))[0]

    async def _unary(
        self, method: str, request: bytes, told: Metadata, *, writes: bool
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The answer and its trailing metadata."""
        presented = self._written.header
        told = (*told, *self._presented())
        call: _Asker = self._channel.unary_unary(f"/{_SERVICE}/{method}")

        async def attempt(token: str, within_s: float) -> tuple[dict[str, Any], dict[str, str]]:
            metadata = (*told, ("authorization", f"Bearer {token}"))
            running = call(request, timeout=within_s, metadata=metadata)
            try:
                answer = await running
            except grpc.aio.AioRpcError as exc:
                if exc.code() in _LOST and _details(exc) is None:
                    raise UnansweredError(was_sent=True) from exc
                raise _error(exc) from exc
            return _RESPONSES[method].read(answer), _texts(await running.trailing_metadata())

        answer, trailing = await repeated(
            attempt,
            self._credentials,
            _no_sign_in,
            times=self._times,
            patience=self._patience,
            writes=writes,
        )
        if writes:
            self._remember(presented, trailing)
        return answer, trailing

    def _presented(self) -> Metadata:
        header = self._written.header
        return () if header is None else ((_TOKEN, header),)

    def _remember(self, presented: str | None, trailing: Mapping[str, str]) -> None:
        if _TOKEN in trailing:
            self._written.answered(presented, trailing[_TOKEN])

    async def _metadata(self, told: Metadata) -> Metadata:
        token = await self._credentials.token(_no_sign_in)
        return (*told, ("authorization", f"Bearer {token}"))


async def _no_sign_in(_path: str, _body: dict[str, Any]) -> dict[str, Any]:  # noqa: RUF029
    raise NotSupported(feature="signing in over gRPC")


def _operation(operation: Operation) -> dict[str, Any]:
    id = operation.get("id")
    if isinstance(id, dict):
        return {**operation, "id": None, "id_of": id["$ref"]}
    return operation


def _batch_result(told: dict[str, Any]) -> dict[str, Any]:
    """The result of an operation, as the REST gateway tells it."""
    if "error" in told:
        return {"error": _with_error(told)["error"]}
    record: Record = told.get("record", {})
    return {**record, "deleted": True} if told.get("deleted") else record


def _with_error(result: dict[str, Any]) -> dict[str, Any]:
    if "error" not in result:
        return result
    told = error_of_status(Status.FromString(result["error"])).told()
    error = {"code": told.code, "message": told.message, "errors": told.issues}
    return {**result, "error": msgspec.to_builtins(error)}


def _texts(metadata: Any) -> dict[str, str]:
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _details(error: grpc.aio.AioRpcError) -> bytes | None:
    found = [value for key, value in error.trailing_metadata() if key == DETAILS_KEY]
    return found[0] if found and isinstance(found[0], bytes) else None


def _error(error: grpc.aio.AioRpcError) -> ObjectQLError:
    return error_of(error.code().value[0], error.details() or "", _details(error))
