"""A gateway in this process, on an in-memory bus, before a kernel that records and replays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from objectql.bus.client import KernelClient
from objectql.bus.memory import MemoryBus
from objectql.bus.server import BusServer, Verb
from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.errors import Unauthenticated
from objectql.ids import FieldName, ObjectName
from objectql.metadata.field_numbers import allocate
from objectql.metadata.model import ActionDef, Features, FieldDef, ObjectDef, Option, system_fields
from objectql.metadata.registry import MetadataSnapshot
from objectql.service.metadata_view import MetadataView
from objectql.service.recent_writes import RecentWrites
from objectql.wire import audit as a
from objectql.wire import identity as i
from objectql.wire import messages as m
from objectql.wire import tenants as t
from objectql.wire import webhooks as w
from objectql.wire.transactions import TransactionRequest
from objectql_gateway_rest.application import create_application
from objectql_gateway_rest.call import Services
from objectql_gateway_rest.settings import LimitSettings
from objectql_gateway_rest.url_cache import UrlCache

REQUESTS: dict[str, type[msgspec.Struct]] = {
    "find": m.FindRequest,
    "get": m.GetRequest,
    "aggregate": m.AggregateRequest,
    "export": m.ExportRequest,
    "explain": m.ExplainRequest,
    "history": m.HistoryRequest,
    "search": m.SearchRequest,
    "permissions": m.PermissionsRequest,
    "explain_access": m.ExplainAccessRequest,
    "create": m.CreateRequest,
    "update": m.UpdateRequest,
    "delete": m.DeleteRequest,
    "bulk": m.BulkRequest,
    "write_where": m.WhereWriteRequest,
    "batch": m.BatchRequest,
    "transaction": TransactionRequest,
    "clone": m.CloneRequest,
    "action": m.ActionRequest,
    "meta_types": m.MetaTypesRequest,
    "meta_list": m.MetaListRequest,
    "meta_get": m.MetaGetRequest,
    "meta_put": m.MetaPutRequest,
    "meta_delete": m.MetaDeleteRequest,
    "view": m.ViewRequest,
    "snapshot": m.SnapshotRequest,
    "tenant_list": t.TenantListRequest,
    "tenant_get": t.TenantGetRequest,
    "tenant_usage": t.TenantUsageRequest,
    "tenant_create": t.TenantCreateRequest,
    "tenant_change": t.TenantChangeRequest,
    "tenant_delete": t.TenantDeleteRequest,
    "tenant_export": t.TenantExportRequest,
    "webhook_list": w.WebhookListRequest,
    "webhook_get": w.WebhookGetRequest,
    "webhook_create": w.WebhookCreateRequest,
    "webhook_change": w.WebhookChangeRequest,
    "webhook_delete": w.WebhookDeleteRequest,
    "webhook_rotate": w.WebhookRotateRequest,
    "webhook_test": w.WebhookTestRequest,
    "webhook_deliveries": w.WebhookDeliveriesRequest,
    "webhook_replay": w.WebhookReplayRequest,
    "tenant_snapshot": t.TenantSnapshotRequest,
    "tenant_metadata": t.TenantMetadataRequest,
    "tenant_metadata_put": t.TenantMetadataPutRequest,
    "tenant_metadata_delete": t.TenantMetadataDeleteRequest,
    "tenant_metadata_purge": t.TenantPurgeRequest,
    "audit_list": a.AuditListRequest,
    "audit_verify": a.AuditVerifyRequest,
    "auth_sign_in": i.SignInRequest,
    "auth_refresh": i.RefreshRequest,
    "auth_sign_out": i.SignOutRequest,
}


ENTRY = (
    b'{"id":"e1","at":"2026-03-01T10:00:00.000Z","actor":"ann","operation":"updated","version":2,'
    b'"request_id":"r1","changes":{"title":{"old":"a","new":"b"}}}'
)


TOKENS = i.TokensReply("ann", "r1", 600, "s1", SystemClock().now_ms() + 86_400_000, {"id": "ann"})


class FakeKernel:
    """Answers each verb with what the test laid down, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, Context]] = []
        self.slow: dict[str, Any] = {}
        self.answers: dict[str, Any] = {
            "find": m.PageReply(items=b'[{"id":"1"}]', count=1, limit=100),
            "get": m.RecordReply(record=b'{"id":"1","title":"a"}', id="1", version=3),
            "aggregate": m.PageReply(items=b'[{"n":2}]', count=1, limit=1000),
            "export": m.ExportReply(b'[{"id":"1","title":"a"}]', 1, ("id", "title")),
            "explain": m.JsonReply(body=b'{"query":{}}'),
            "history": m.PageReply(items=b"[" + ENTRY + b"]", count=1, limit=100),
            "search": m.JsonReply(body=b'{"query":"foo","hits":[]}'),
            "permissions": m.JsonReply(body=b'{"user":"u1","roles":[],"objects":{}}'),
            "explain_access": m.JsonReply(body=b'{"allowed":true,"because":[]}'),
            "create": m.RecordReply(record=b'{"id":"1"}', id="1", version=1),
            "update": m.RecordReply(record=b'{"id":"1"}', id="1", version=4),
            "delete": m.DeleteReply(id="1"),
            "bulk": m.BulkReply((m.RowResult("1", "created", 1, b'{"id":"1"}'),)),
            "write_where": m.CountReply(3),
            "batch": m.BatchReply(
                (
                    m.RowResult("1", "created", 1, b'{"id":"1"}'),
                    m.RowResult("2", "created", 1, b'{"id":"2"}'),
                ),
                "t-1",
                "committed",
            ),
            "clone": m.RecordReply(record=b'{"id":"2"}', id="2", version=1),
            "action": m.JsonReply(body=b'{"ok":true}'),
            "meta_types": m.JsonReply(body=b'[{"type":"object","count":1}]'),
            "meta_list": m.JsonReply(body=b'[{"name":"task"}]'),
            "meta_get": m.JsonReply(body=b'{"name":"task"}', version=7),
            "meta_put": m.MetaWriteReply(version=8, changes=("field added",)),
            "meta_delete": m.MetaWriteReply(version=9),
            "view": m.JsonReply(body=b'{"type":"grid"}'),
            "snapshot": m.SnapshotReply(version=1, items=b"snapshot"),
            "tenant_list": m.JsonReply(body=b'[{"id":"acme"}]'),
            "tenant_get": m.JsonReply(body=b'{"id":"acme"}'),
            "tenant_usage": m.JsonReply(body=b'{"id":"acme","records":3}'),
            "tenant_create": m.JsonReply(body=b'{"id":"acme"}'),
            "tenant_change": m.JsonReply(body=b'{"id":"acme","suspended":true}'),
            "tenant_delete": t.TenantDeleteReply("acme"),
            "tenant_export": t.TenantExportReply(b'{"tenant":{}}\n'),
            "tenant_snapshot": m.SnapshotReply(version=0),
            "tenant_metadata": m.JsonReply(body=b'{"fields":{}}', version=4),
            "tenant_metadata_put": m.MetaWriteReply(version=5, changes=("add column",)),
            "tenant_metadata_delete": m.MetaWriteReply(version=6),
            "tenant_metadata_purge": m.JsonReply(body=b'{"purged":[]}'),
            "auth_sign_in": TOKENS,
            "auth_refresh": msgspec.structs.replace(TOKENS, refresh_token="r2"),
            "auth_sign_out": i.DoneReply(),
        }

    def verbs(self) -> dict[str, Verb[Any]]:
        return {verb: Verb(type_, self._answer(verb)) for verb, type_ in REQUESTS.items()}

    def _answer(self, verb: str) -> Any:
        async def answer(request: Any, context: Context) -> Any:
            self.asked.append((verb, request, context))
            if verb in self.slow:
                return await self.slow[verb](request, context)
            result = self.answers[verb]
            if isinstance(result, Exception):
                raise result
            return result

        return answer

    @property
    def last(self) -> tuple[str, Any, Context]:
        asked = [entry for entry in self.asked if entry[0] != "snapshot"]
        return asked[-1]

    @property
    def count(self) -> int:
        return sum(verb != "snapshot" for verb, _, _ in self.asked)


def define(name: str, *fields: FieldDef, **more: Any) -> ObjectDef:
    every = [*system_fields(), *fields]
    return ObjectDef(name=ObjectName(name), fields={f.name: f for f in every}, **more)


def field(name: str, type: str = "text", **more: Any) -> FieldDef:
    return FieldDef(name=FieldName(name), type=type, **more)


PROJECT = define("project", field("name", required=True))
TASK = define(
    "task",
    field("title", required=True, max_length=80),
    field("status", "select", options=(Option("open", "Open"), Option("done", "Done"))),
    field("n", "number", scale=0),
    field("cost", "currency", scale=2),
    field("due", "date"),
    field("tags", "tags"),
    field("extra", "json"),
    field("secret", "password"),
    field("owner", "user"),
    field("project", "lookup", reference=ObjectName("project")),
    state_machines={
        "status": {
            "initial": "open",
            "states": {
                "open": {"on": {"ASK": "review", "END": [{"target": "done"}, "review"]}},
                "review": {"on": {"END": {"target": "done"}}},
                "done": {"type": "final"},
            },
        }
    },
    enable=Features(track_history=True),
    actions={
        "close": ActionDef("close", params={"why": field("why", required=True)}),
        "sweep": ActionDef("sweep", type="global"),
    },
)


class FakeVerifier:
    """The token is the user's name; `bad` is nobody."""

    async def verify(self, token: str) -> Actor:
        if token == "bad":
            raise Unauthenticated
        return Actor(id=token, roles=("admin",))


@pytest.fixture
def kernel() -> FakeKernel:
    return FakeKernel()


@pytest.fixture
def limits() -> LimitSettings:
    return LimitSettings()


@pytest.fixture
async def services(kernel: FakeKernel, limits: LimitSettings) -> AsyncIterator[Services]:
    bus = MemoryBus()
    server = BusServer(bus, kernel.verbs())
    await server.start()
    clock = SystemClock()
    client = KernelClient(bus)

    def decode(_: bytes) -> MetadataSnapshot:
        objects = {each.name: each for each in (TASK, PROJECT)}
        return MetadataSnapshot(1, objects, numbers=allocate(objects.values(), {}))

    metadata = MetadataView(client, clock, decode)
    await metadata.refresh()
    yield Services(
        kernel=client,
        verifier=FakeVerifier(),
        metadata=metadata,
        clock=clock,
        limits=limits,
        writes=RecentWrites(),
        urls=UrlCache(),
        observe=lambda route, status, seconds: None,
    )
    await server.drain(1)
    await bus.close()


@pytest.fixture
async def client(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_application(services))
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway", headers={"authorization": "Bearer ann"}
    ) as made:
        yield made
