"""A call of gRPC asks of kernels what the same request over HTTP asks, and is refused with the same error."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from objectql.clock import SystemClock
from objectql.metadata.registry import MetadataSnapshot
from objectql.service.recent_writes import RecentWrites
from objectql_gateway_grpc.calls import Calls
from objectql_gateway_grpc.catalog import Catalog
from objectql_gateway_grpc.request import Services
from objectql_gateway_grpc.router import Router
from objectql_gateway_grpc.server import GrpcServer
from objectql_gateway_grpc.settings import CallLimits, ListenSettings
from tests.live import test_doors as others
from tests.rpc import Rpc, refusal

doors = others.doors  # pyright: ignore[reportUnknownVariableType] - the fixture of the other gateways

ONE = {"object": "note", "id": "7"}
STEPS = [
    {"object": "note", "action": "ACTION_CREATE", "data": {"n": 0.1}},
    {"object": "note", "action": "ACTION_DELETE", "id_of": 0, "if_version": "4"},
]
BATCH: dict[str, Any] = {"operations": STEPS, "isolation": "ISOLATION_SERIALIZABLE"}
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "get": ("Get", ONE),
    "groups": ("Aggregate", {"object": "note", "query": others.COUNTED}),
    "create": ("Create", {"object": "note", "data": {"n": 1}}),
    "update": ("Update", ONE | {"data": {"n": 1}}),
    "replace": ("Update", ONE | {"data": {"n": 1}, "replace": True}),
    "delete": ("Delete", ONE | {"if_version": "2"}),
    "batch": ("Batch", BATCH | {"atomic": False}),
    "action": ("Action", ONE | {"action": "close", "parameters": {"why": "x"}}),
    "action of an object": ("Action", {"object": "note", "action": "sweep"}),
    "transaction": ("GetTransaction", {"id": "t1"}),
    "facts": ("Create", {"object": "note", "data": {"n": 1}}),
}
"""The method and the message for what `test_doors` sends by the same name."""

REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "no object": ("Create", {"object": "a b"}),
    "no record": ("Delete", {"object": "note", "id": "x" * 300}),
    "nothing to compute": ("Aggregate", {"object": "note"}),
    "a key": ("Create", {"object": "note"}),
    "a token": ("Create", {"object": "note"}),
    "a policy": ("Get", ONE),
    "refused": ("Batch", BATCH | {"atomic": True}),
}


class Door(NamedTuple):
    kernel: others.Kernel
    rpc: Rpc


@pytest.fixture
async def door() -> AsyncGenerator[Door]:
    kernel = others.Kernel()
    services = Services(
        kernel=kernel,
        verifier=others.Believing(),
        clock=SystemClock(),
        limits=CallLimits(),
        writes=RecentWrites(),
        observe=lambda _method, _status, _s: None,
    )
    metadata: Any = SimpleNamespace(is_ready=True, snapshot=MetadataSnapshot(1, {}))
    router = Router(Calls(services), Catalog(metadata))
    server = GrpcServer([router], ListenSettings(port=0), CallLimits(), drain_s=5)
    await server.start()
    rpc = Rpc(f"127.0.0.1:{server.port}", {"authorization": "Bearer ann"})
    yield Door(kernel, rpc)
    await rpc.close()
    await server.stop()


def plain(value: Any) -> Any:
    """`value` with JSON texts as what they say: bodies of REST keep their bytes, structures have none."""
    if isinstance(value, bytes):
        return json.loads(value)
    if isinstance(value, msgspec.Struct):
        fields = value.__struct_fields__
        return type(value).__name__, {name: plain(getattr(value, name)) for name in fields}
    return [plain(each) for each in value] if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownVariableType]


def headers_of(case: others.Case) -> dict[str, str]:
    """Those of HTTP, by the names that gRPC wants; time limits are the call's own."""
    return {name.lower(): text for name, text in case.headers.items() if name != "X-Timeout-Ms"}


async def by_http(doors: others.Doors, case: others.Case) -> httpx.Response:
    answer, _ = await others.both(doors, case)
    return answer


@pytest.mark.parametrize("name", CALLS)
async def test_kernels_are_asked_the_same(doors: others.Doors, door: Door, name: str) -> None:
    case, (method, message) = others.CASES[name], CALLS[name]
    answer = await by_http(doors, case)
    assert answer.status_code < 300, answer.text
    await door.rpc.one(f"objectql.v1.ObjectService/{method}", message, headers=headers_of(case))
    (verb, request, context), [(same_verb, same_request, same_context)] = (
        doors.kernel.asked[0],
        door.kernel.asked,
    )
    assert (same_verb, plain(same_request)) == (verb, plain(request))
    alike = {"request_id": "", "origin": "", "deadline_ms": 0}
    replace = msgspec.structs.replace
    assert replace(same_context, **alike) == replace(context, **alike)
    token = answer.headers.get("oql-consistency-token")
    assert door.rpc.trailers.get("oql-consistency-token") == token
    assert door.rpc.trailers.get("etag") == answer.headers.get("etag")


@pytest.mark.parametrize("name", REFUSED)
async def test_refusals_are_the_same_errors(doors: others.Doors, door: Door, name: str) -> None:
    case, (method, message) = others.WRONG[name], REFUSED[name]
    problem = (await by_http(doors, case)).json()
    call = door.rpc.one(f"objectql.v1.ObjectService/{method}", message, headers=headers_of(case))
    error = await refusal(call)
    assert (error.code, error.message) == (problem["code"], problem["detail"])
