"""A request over a socket asks of kernels what the same request over HTTP asks, and answers the same."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any, NamedTuple, TypeVar

import httpx
import msgspec
import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.errors import InvalidRequest, ObjectQLError, RecordNotFound
from objectql.ids import DataSource, TenantId
from objectql.rates.limiter import Limiter
from objectql.service.caller_rates import Rates
from objectql.service.data.limits import RequestLimits
from objectql.service.live.frames import read_frame
from objectql.service.live.requests import Requests
from objectql.service.metadata_view import MetadataView
from objectql.service.rates import CallerRateSettings
from objectql.service.recent_writes import RecentWrites
from objectql.wire import messages as m
from objectql.wire.transactions import TransactionReply
from objectql_gateway_rest.application import create_application
from objectql_gateway_rest.call import Services
from objectql_gateway_rest.settings import LimitSettings
from objectql_gateway_rest.url_cache import UrlCache

T = TypeVar("T")

ANN = Actor("ann", TenantId("acme"), ("member",))
RECORD = m.RecordReply(b'{"id":"7","n":0.10}', "7", 3, consistency_token="1.default:10")
ROW = m.RowResult("7", "created", 1, b'{"id":"7"}')
FAILED = m.RowResult(error=RecordNotFound(object="note", id="9").to_info())

REPLIES: dict[str, Any] = {
    "get": msgspec.structs.replace(RECORD, consistency_token=None),
    "create": RECORD,
    "update": RECORD,
    "delete": m.DeleteReply("7", consistency_token="1.default:p"),
    "find": m.PageReply(b'[{"id":"7"}]', 1, 100, has_next=True, next="c", total=5),
    "aggregate": m.PageReply(b'[{"n":2}]', 1, 1000),
    "bulk": m.BulkReply((ROW, FAILED)),
    "batch": m.BatchReply((ROW, FAILED), "t1", "committed", "1.default:20"),
    "transaction": TransactionReply("t1", "in_doubt", (DataSource("east"),)),
    "action": m.JsonReply(b'{"done":[1.50]}', consistency_token="1.default:30"),
}


class Kernel:
    """Remembers what it is asked, and answers each verb with one reply or error."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, msgspec.Struct, Context]] = []
        self.replies = dict(REPLIES)

    async def call(
        self, verb: str, request: msgspec.Struct, context: Context, reply_type: type[T]
    ) -> T:
        self.asked.append((verb, request, context))
        reply = self.replies[verb]
        if isinstance(reply, ObjectQLError):
            raise reply
        assert isinstance(reply, reply_type)
        return reply


class Believing:
    async def verify(self, token: str) -> Actor:
        assert token == ANN.id
        return ANN


class Doors(NamedTuple):
    """Both gateways, before one kernel."""

    kernel: Kernel
    http: httpx.AsyncClient
    socket: Requests

    async def ask(self, text: str) -> dict[str, Any]:
        """The response to a frame."""
        said: Any = read_frame(text.encode())
        return json.loads(await self.socket.answer(said, ANN, "program 1.2.3.4"))


def requests(kernel: Kernel, principal: str = "off") -> Requests:
    clock = SystemClock()
    limited = Rates(CallerRateSettings(principal=principal), Limiter(clock), refused=lambda _: None)
    return Requests(
        kernel, clock, RequestLimits(), limited, observe=lambda _name, _outcome, _s: None
    )


@pytest.fixture
async def doors() -> AsyncGenerator[Doors]:
    kernel, clock = Kernel(), SystemClock()
    application = create_application(
        Services(
            kernel=kernel,
            verifier=Believing(),
            metadata=MetadataView(kernel, clock, lambda _: pytest.fail("nobody asks for them")),
            clock=clock,
            limits=LimitSettings(),
            writes=RecentWrites(),
            urls=UrlCache(),
            observe=lambda _name, _outcome, _s: None,
        )
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=application),
        base_url="http://gateway",
        headers={"Authorization": "Bearer ann"},
    ) as http:
        yield Doors(kernel, http, requests(kernel))


class Case(NamedTuple):
    """The same request for both: a frame without its type and id, and method, path and headers."""

    frame: dict[str, Any]
    method: str
    path: str
    headers: dict[str, str] = {}


NOTE: dict[str, Any] = {"object": "note"}
ONE: dict[str, Any] = {"object": "note", "record": "7"}
MATCHED = {"where": {"n": {"$gt": 1}}, "orderBy": "n", "limit": 5, "count": True}
COUNTED = {"groupBy": ["n"], "aggregations": [{"function": "count", "alias": "c"}]}
BULK = {"operation": "update", "records": [{"id": "7", "n": 1}, {"id": "9"}], "atomic": False}
BATCH = {
    "operations": [
        {"object": "note", "action": "create", "data": {"n": 0.1}},
        {"object": "note", "action": "delete", "id": {"$ref": 0}, "if_version": 4},
    ],
    "atomic": False,
    "isolation": "serializable",
}
CASES = {
    "get": Case({"operation": "get"} | ONE, "GET", "/api/note/7"),
    "query": Case({"operation": "query", "body": MATCHED} | NOTE, "POST", "/api/note/query"),
    "groups": Case(
        {"operation": "aggregate", "body": COUNTED} | NOTE, "POST", "/api/note/aggregate"
    ),
    "groups of a query": Case(
        {"operation": "query", "body": COUNTED} | NOTE, "POST", "/api/note/query"
    ),
    "create": Case({"operation": "create", "body": {"n": 1}} | NOTE, "POST", "/api/note"),
    "update": Case(
        {"operation": "update", "body": {"n": 1}, "if_version": 12} | ONE,
        *("PATCH", "/api/note/7", {"If-Match": '"12"'}),
    ),
    "replace": Case({"operation": "replace", "body": {"n": 1}} | ONE, "PUT", "/api/note/7"),
    "delete": Case(
        {"operation": "delete", "if_version": 2} | ONE,
        *("DELETE", "/api/note/7", {"If-Match": '"2"'}),
    ),
    "bulk": Case({"operation": "bulk", "body": BULK} | NOTE, "POST", "/api/note/bulk"),
    "batch": Case({"operation": "batch", "body": BATCH}, "POST", "/api/batch"),
    "transaction": Case(
        {"operation": "transaction", "record": "t1"}, "GET", "/api/transactions/t1"
    ),
    "action": Case(
        {"operation": "action", "action": "close", "body": {"why": "x"}} | ONE,
        *("POST", "/api/note/7/actions/close"),
    ),
    "action of an object": Case(
        {"operation": "action", "action": "sweep"} | NOTE, "POST", "/api/note/actions/sweep"
    ),
    "facts": Case(
        {"operation": "create", "body": {"n": 1}, "idempotency_key": "k", "timeout_ms": 70_000}
        | {"consistency_token": "1.default:F", "read_policy": "bounded:2"}
        | {"trace": {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "x": "y"}}
        | NOTE,
        *("POST", "/api/note"),
        {"Idempotency-Key": "k", "X-Timeout-Ms": "70000", "Oql-Read-Policy": "bounded:2"}
        | {"Oql-Consistency-Token": "1.default:F"}
        | {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"},
    ),
}
WRONG = {
    "no object": Case({"operation": "create", "object": "a b"}, "POST", "/api/a%20b"),
    "no record": Case({"operation": "delete", "object": "note", "record": "x" * 300}, *("DELETE", "/api/note/" + "x" * 300)),
    "a list": Case({"operation": "update", "body": [1]} | ONE, "PATCH", "/api/note/7"),
    "two keys": Case({"operation": "query", "body": {"limit": 5000}} | NOTE, "POST", "/api/note/query"),
    "a filter": Case({"operation": "query", "body": {"where": {"$x": 1}}} | NOTE, "POST", "/api/note/query"),
    "nothing to compute": Case({"operation": "aggregate"} | NOTE, "POST", "/api/note/aggregate"),
    "an unknown key": Case({"operation": "bulk", "body": {"x": 1}} | NOTE, "POST", "/api/note/bulk"),
    "a step": Case(
        {"operation": "batch", "body": {"operations": [{"object": "note", "action": "delete"}]}},
        *("POST", "/api/batch"),
    ),
    "a key": Case({"operation": "create", "idempotency_key": "é"} | NOTE, "POST", "/api/note", {"Idempotency-Key": "a b"}),
    "a token": Case({"operation": "create", "consistency_token": "x"} | NOTE, "POST", "/api/note", {"Oql-Consistency-Token": "x"}),
    "a policy": Case({"operation": "get", "read_policy": "x"} | ONE, "GET", "/api/note/7", {"Oql-Read-Policy": "x"}),
    "refused": Case({"operation": "batch", "body": BATCH | {"atomic": True}}, "POST", "/api/batch"),
}  # fmt: skip


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


async def both(doors: Doors, case: Case) -> tuple[httpx.Response, dict[str, Any]]:
    body = case.frame.get("body", {} if case.method in {"POST", "PATCH", "PUT"} else None)
    content = None if body is None else compact(body)
    answer = await doors.http.request(case.method, case.path, content=content, headers=case.headers)
    return answer, await doors.ask(compact({"type": "request", "id": "r"} | case.frame))


@pytest.mark.parametrize("name", CASES)
async def test_sockets_ask_and_answer_as_http_does(doors: Doors, name: str) -> None:
    answer, told = await both(doors, CASES[name])
    assert answer.status_code < 300, answer.text
    assert (told["type"], told["id"]) == ("response", "r")
    assert told["body"] == answer.json()
    assert told.get("consistency_token") == answer.headers.get("oql-consistency-token")
    tag = answer.headers.get("etag")
    assert told.get("version") == (None if tag is None else int(tag.strip('"')))
    (verb, request, by_http), (same_verb, same_request, by_socket) = doors.kernel.asked
    assert (same_verb, same_request) == (verb, request)
    assert by_socket.origin == "program 1.2.3.4"
    assert abs(by_socket.deadline_ms - by_http.deadline_ms) < 5000
    for context in (by_http, by_socket):
        assert context.actor == ANN
    alike = {"request_id": "", "origin": "", "deadline_ms": 0}
    assert msgspec.structs.replace(by_http, **alike) == msgspec.structs.replace(by_socket, **alike)


@pytest.mark.parametrize("name", WRONG)
async def test_sockets_refuse_what_http_refuses_with_the_same_error(
    doors: Doors, name: str
) -> None:
    answer, told = await both(doors, WRONG[name])
    problem, error = answer.json(), told["error"]
    assert (error["code"], error["message"]) == (problem["code"], problem["detail"])
    issues = [i for i in problem["errors"] if i["code"] != problem["code"]]
    if issues:
        assert error["errors"] == issues


async def test_numbers_pass_as_they_were_written(doors: Doors) -> None:
    said: Any = read_frame(
        b'{"type":"request","id":"r","operation":"create","object":"note","body":{"n":0.10}}'
    )
    assert b'"n":0.10' in await doors.socket.answer(said, ANN, "")
    [(_, request, _)] = doors.kernel.asked
    assert request == m.CreateRequest("note", b'{"n":0.10}')


async def test_an_upsert_is_one_record_found_by_what_the_frame_names(doors: Doors) -> None:
    frame: dict[str, Any] = {"type": "request", "id": "r", "operation": "upsert", "object": "note"}
    doors.kernel.replies["bulk"] = m.BulkReply((ROW,))
    told = await doors.ask(json.dumps(frame | {"body": {"name": "x"}, "match": ["name"]}))
    assert told["body"] == {"id": "7"}
    [(verb, request, _)] = doors.kernel.asked
    rows = (m.BulkRow(b'{"name": "x"}'),)
    assert (verb, request) == (
        "bulk",
        m.BulkRequest("note", "upsert", rows, atomic=True, match=("name",)),
    )
    doors.kernel.replies["bulk"] = m.BulkReply((FAILED,))
    told = await doors.ask(json.dumps(frame | {"body": {"name": "x"}}))
    assert told["error"]["code"] == RecordNotFound.code


async def test_fields_and_relations_of_one_record_are_chosen_in_the_body(doors: Doors) -> None:
    frame: dict[str, Any] = {"type": "request", "id": "r", "operation": "get"} | ONE
    await doors.ask(json.dumps(frame | {"body": {"fields": ["n", "parent.name"]}}))
    [(_, request, _)] = doors.kernel.asked
    assert isinstance(request, m.GetRequest)
    assert request.fields == (("n",), ("parent", "name"))
    told = await doors.ask(json.dumps(frame | {"body": {"limit": 3}}))
    assert told["error"]["code"] == "INVALID_QUERY"


async def test_what_is_read_after_a_write_has_seen_it(doors: Doors) -> None:
    for frame in ({"operation": "create"} | NOTE, {"operation": "get"} | ONE):
        await doors.ask(json.dumps({"type": "request", "id": "r"} | frame))
    assert doors.kernel.asked[-1][2].recent_token == "1.default:10"


async def test_a_caller_has_one_limit_and_is_told_when_to_come_again() -> None:
    kernel = Kernel()
    limited = requests(kernel, principal="2/h")
    said: Any = read_frame(
        b'{"type":"request","id":"r","operation":"get","object":"o","record":"1"}'
    )
    answers = [json.loads(await limited.answer(said, ANN, "")) for _ in range(3)]
    assert [answer.get("error", {}).get("code") for answer in answers] == [
        *(None, None),
        "RATE_LIMIT_EXCEEDED",
    ]
    assert answers[-1]["error"]["retry_after_ms"] > 0
    assert len(kernel.asked) == 2


@pytest.mark.parametrize(
    "text",
    [
        b'{"type":"request","id":"r"}',
        b'{"type":"request","id":"r","operation":"drop"}',
        b'{"type":"request","id":"r","operation":"get","where":{}}',
        b'{"type":"request","id":"","operation":"get"}',
        b'{"type":"request","id":"r","operation":"get","timeout_ms":0}',
    ],
)
def test_a_frame_of_another_shape_is_none(text: bytes) -> None:
    with pytest.raises(InvalidRequest):
        read_frame(text)
