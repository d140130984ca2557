"""A gateway in this process before a kernel that remembers and replays, and clients of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

import msgspec
import pytest
from tests.rpc import Rpc

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.errors import ObjectQLError, Unauthenticated
from objectql.ids import TenantId
from objectql.metadata.build import build_snapshot
from objectql.metadata.document import Document
from objectql.metadata.field_numbers import allocate
from objectql.metadata.registry import MetadataSnapshot
from objectql.protobuf.generic import FILE
from objectql.protobuf.objects import proto_files
from objectql.rates.limiter import Limiter
from objectql.service.caller_rates import Rates
from objectql.service.rates import CallerRateSettings
from objectql.service.recent_writes import RecentWrites
from objectql.wire import messages as m
from objectql.wire.transactions import TransactionReply
from objectql_gateway_grpc.calls import Calls
from objectql_gateway_grpc.catalog import Catalog
from objectql_gateway_grpc.reflection import ReflectionService
from objectql_gateway_grpc.request import Services
from objectql_gateway_grpc.router import Router
from objectql_gateway_grpc.server import GrpcServer
from objectql_gateway_grpc.settings import CallLimits, ListenSettings

T = TypeVar("T")

ANN = Actor("ann", TenantId("acme"), ("member",))
NOTE = b'{"id":"7","title":"a","n":2,"secret":"s","version":3}'
ACTIONS = {"close": {"params": {"why": {"type": "text"}}}}
PERMISSION: dict[str, Any] = {
    "roles": ["member", "boss"],
    "object_permissions": {each: ["member"] for each in ("create", "read", "update", "delete")},
    "field_permissions": {"secret": {"read": ["boss"], "update": ["boss"]}},
}


class Kernel:
    """Answers each verb with one reply, error, or what a function makes of the request."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, Context]] = []
        self.cancelled: list[str] = []
        record = m.RecordReply(NOTE, "7", 3)
        written = msgspec.structs.replace(record, consistency_token="1.default:10")
        self.replies: dict[str, Any] = {
            "get": record,
            "create": written,
            "update": written,
            "delete": m.DeleteReply("7", 4, "1.default:11"),
            "find": m.PageReply(b"[" + NOTE + b"]", 1, 100, has_next=True, next="c", total=5),
            "export": m.ExportReply(b"[" + NOTE + b"]", 1, ("id", "title")),
            "aggregate": m.PageReply(b'[{"title":"a","c":2}]', 1, 1000),
            "bulk": m.BulkReply((m.RowResult("7", "created", 1),), "1.default:12"),
            "batch": m.BatchReply(
                (m.RowResult("7", "created", 1, b'{"id":"7"}'),), "t1", "committed"
            ),
            "action": m.JsonReply(b'{"done":true}'),
            "transaction": TransactionReply("t1", "committed"),
        }

    async def call(
        self, verb: str, request: msgspec.Struct, context: Context, reply_type: type[T]
    ) -> T:
        self.asked.append((verb, request, context))
        reply = self.replies[verb]
        try:
            if callable(reply):
                reply = reply(request)
            if asyncio.isfuture(reply):
                reply = await reply
        except asyncio.CancelledError:
            self.cancelled.append(verb)
            raise
        if isinstance(reply, ObjectQLError):
            raise reply
        assert isinstance(reply, reply_type)
        return reply


class Metadata:
    """What is needed of a `MetadataView`: a snapshot that tests replace."""

    def __init__(self) -> None:
        self.snapshot = publish("note")

    is_ready = True


def publish(*names: str, version: int = 1) -> MetadataSnapshot:
    """Objects with the same fields, of which only administrators may read `secret`."""
    fields = {"title": {"type": "text"}, "n": {"type": "number"}, "secret": {"type": "text"}}
    documents = [
        each
        for name in names
        for each in (
            Document("app", "object", name, {"fields": fields, "actions": ACTIONS}),
            Document("app", "permission", name, PERMISSION | {"object": name}),
        )
    ]
    made: Any = build_snapshot(documents, version)
    made.numbers = allocate(made.objects.values(), {})
    return made


class Believing:
    """Takes the names of callers for their tokens."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    async def verify(self, token: str) -> Actor:
        if token == "root":
            return Actor("root", TenantId("acme"), ("admin",))
        if token != ANN.id or token in self.revoked:
            raise Unauthenticated
        return ANN


class Gateway:
    """The gateway, what it asks, and what it counts."""

    def __init__(self, limits: CallLimits, **listen: Any) -> None:
        self.kernel = Kernel()
        self.metadata: Any = Metadata()
        self.verifier = Believing()
        self.observed: list[tuple[str, str]] = []
        clock = SystemClock()
        rates = CallerRateSettings(principal=listen.pop("principal", "off"))
        self.calls = Calls(
            Services(
                kernel=self.kernel,
                verifier=self.verifier,
                clock=clock,
                limits=limits,
                writes=RecentWrites(),
                observe=lambda method, status, _s: self.observed.append((method, status)),
                rates=Rates(rates, Limiter(clock), refused=lambda _: None),
            )
        )
        catalog = Catalog(self.metadata)
        self.server = GrpcServer(
            [Router(self.calls, catalog), *ReflectionService(self.calls, catalog).handlers()],
            ListenSettings(port=0, **listen),
            limits,
            drain_s=5,
        )
        self._clients: list[Rpc] = []

    async def start(self) -> None:
        await self.server.start()

    async def stop(self) -> None:
        for each in self._clients:
            await each.close()
        await self.server.stop()

    def client(self, token: str | None = "ann") -> Rpc:
        """A client of the generic service and of those of all objects."""
        snapshot: MetadataSnapshot = self.metadata.snapshot
        files = proto_files(snapshot.objects.values(), snapshot.numbers)
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        found = Rpc(f"127.0.0.1:{self.server.port}", headers, files=[FILE, *files.values()])
        self._clients.append(found)
        return found


@pytest.fixture
async def start() -> AsyncGenerator[Callable[..., Any]]:
    """Starts a gateway; it is stopped at the end."""
    started: list[Gateway] = []

    async def start_one(limits: CallLimits | None = None, **listen: Any) -> Gateway:
        gateway = Gateway(limits or CallLimits(), **listen)
        started.append(gateway)
        await gateway.start()
        return gateway

    yield start_one
    for each in started:
        await each.stop()


@pytest.fixture
async def gateway(start: Callable[..., Any]) -> Gateway:
    return await start()


@pytest.fixture
def published() -> Callable[..., MetadataSnapshot]:
    """Makes metadata of the names of objects."""
    return publish
