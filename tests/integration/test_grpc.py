"""gRPC on the shipped cluster: a public client that knows only reflection, and the same answers as REST."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from tests.clusters import ROOT, body, eventually, token_of
from tests.rpc import Rpc, refusal

from objectql.client.grpc import GrpcClient
from objectql.client.operations import delete
from objectql.errors import RecordNotFound, VersionConflict
from objectql_devstack.cluster import Cluster

pytestmark = pytest.mark.servers

FLIGHTS = "objectql.app.v1.FlightService"
ALL = "objectql.v1.ObjectService"
REQUIRED = (
    *("year", "month", "day", "hour", "minute", "timeHour", "schedDepTime", "schedArrTime"),
    *("carrier", "flightNumber", "origin", "destCode", "distance"),
)
GRPCURL = ROOT / ".venv" / "bin" / "grpcurl"


async def grpcurl(cluster: Cluster, *words: str, data: str | None = None) -> str:
    """What grpcurl prints, as the admin."""
    token = cluster.env["OQL_ADMIN_TOKEN"]
    options = ["-plaintext", "-max-time", "30", "-H", f"authorization: Bearer {token}"]
    sent = [] if data is None else ["-d", data]
    target = [cluster.env["OQL_GRPC_TARGET"], *words]
    run = await asyncio.create_subprocess_exec(
        *(GRPCURL, *options, *sent, *target),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    printed, _ = await run.communicate()
    assert run.returncode == 0, printed.decode()
    return printed.decode()


@pytest.fixture
async def rpc(cluster: Cluster) -> AsyncGenerator[Rpc]:
    found = Rpc(
        cluster.env["OQL_GRPC_TARGET"],
        {"authorization": f"Bearer {cluster.env['OQL_ADMIN_TOKEN']}"},
    )
    yield found
    await found.close()


async def test_a_client_that_knows_reflection_only_describes_every_service(
    cluster: Cluster,
) -> None:
    services = (await grpcurl(cluster, "list")).split()
    assert {FLIGHTS, ALL, "grpc.health.v1.Health"} <= set(services)
    assert len([each for each in services if each.startswith("objectql.app.v1.")]) >= 8
    told = await grpcurl(cluster, "describe")
    for service in services:
        assert f"{service} is a service" in told


async def test_a_client_that_knows_reflection_only_calls_every_method_of_flights(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    methods = set((await grpcurl(cluster, "list", FLIGHTS)).split())

    async def call(name: str, sent: dict[str, Any]) -> list[dict[str, Any]]:
        methods.discard(f"{FLIGHTS}.{name}")
        printed = await grpcurl(cluster, f"{FLIGHTS}/{name}", data=json.dumps(sent))
        decoder, found, at = json.JSONDecoder(), list[dict[str, Any]](), 0
        while at < len(printed.rstrip()):
            value, at = decoder.raw_decode(printed, at)
            found.append(value)
            at += len(printed[at:]) - len(printed[at:].lstrip())
        return found

    [page] = await call("ListFlights", {"page_size": 2, "filter": "carrier eq 'UA'"})
    assert len(page["flights"]) == 2
    first = page["flights"][0]
    [again] = await call("GetFlight", {"id": first["id"]})
    assert again == first
    given = {name: first[name] for name in REQUIRED}
    [made] = await call("CreateFlight", {"flight": given | {"id": "g1"}})
    assert made["id"] == "g1"
    [changed] = await call(
        "UpdateFlight", {"flight": {"id": "g1", "dep_delay": "5"}, "if_version": "1"}
    )
    assert changed["version"] == "2"
    assert (await api.get("/api/flight/g1")).json()["version"] == 2
    await call("DeleteFlight", {"id": "g1"})
    assert (await api.get("/api/flight/g1")).status_code == 404
    query = {"query": {"where": {"carrier": "UA"}, "limit": 150}}
    for name in ("QueryFlights", "ExportFlights"):
        assert sum(len(each["flights"]) for each in await call(name, query)) == 150
    assert methods == {f"{FLIGHTS}.WatchFlights"}


async def test_answers_are_those_of_rest(rpc: Rpc, api: httpx.AsyncClient) -> None:
    [flight] = (await api.get("/api/flight?$top=1")).json()["items"]
    told = await rpc.one(f"{ALL}/Get", {"object": "flight", "id": flight["id"]})
    assert told["record"] == pytest.approx(flight) or told["record"] == flight
    error = await refusal(rpc.one(f"{ALL}/Get", {"object": "flight", "id": "none"}))
    answer = await api.get("/api/flight/none")
    assert isinstance(error, RecordNotFound)
    assert (error.code, error.message) == (answer.json()["code"], answer.json()["detail"])


async def test_what_was_written_is_read_by_its_token(rpc: Rpc, api: httpx.AsyncClient) -> None:
    sent = {"object": "airline", "action": "ACTION_CREATE", "atomic": True}
    rows = [{"records": [{"id": f"gr{n}", "name": f"g {n}"}]} | sent for n in range(3)]
    told = await rpc.collect(f"{ALL}/BulkWrite", rows, headers={"idempotency-key": "bulk-1"})
    assert told["succeeded"] == "3"
    token = rpc.trailers["oql-consistency-token"]
    again = await rpc.collect(f"{ALL}/BulkWrite", rows, headers={"idempotency-key": "bulk-1"})
    assert again["succeeded"] == "3"
    seen = {"oql-consistency-token": token, "oql-read-policy": "any"}
    body = {"object": "airline", "query": {"where": {"id": {"$in": ["gr0", "gr1", "gr2"]}}}}
    pages = await rpc.many(f"{ALL}/Query", body, headers=seen)
    assert sum(len(each["records"]) for each in pages) == 3
    for n in range(3):  # other tests of this cluster count the airlines
        assert (await api.delete(f"/api/airline/gr{n}")).is_success


async def test_the_python_client_reads_writes_and_is_refused(cluster: Cluster) -> None:
    async with GrpcClient(cluster.env["OQL_GRPC_TARGET"], cluster.env["OQL_ADMIN_TOKEN"]) as client:
        made = await client.create("airline", {"id": "gpc", "name": "By client"})
        assert (made["id"], made["name"]) == ("gpc", "By client")
        changed = await client.update("airline", "gpc", {"name": "Again"}, if_version=1)
        assert changed["version"] == 2
        with pytest.raises(VersionConflict):
            await client.update("airline", "gpc", {"name": "Late"}, if_version=1)
        document = {"where": {"id": "gpc"}}
        assert [each["name"] async for each in client.query("airline", document)] == ["Again"]
        result = await client.batch([delete("airline", "gpc")])
        assert result.transaction is not None
        assert (await client.transaction(result.transaction.id)).state == "committed"
        with pytest.raises(RecordNotFound):
            await client.get("airline", "gpc")


async def test_an_object_that_is_put_has_a_service_without_a_restart(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    document = {"name": "gadget", "fields": {"name": {"type": "text"}}}
    answer = await api.put("/api/meta/object/gadget", content=body(document))
    assert answer.status_code < 300, answer.text

    async def is_served() -> bool:
        return "objectql.app.v1.GadgetService" in (await grpcurl(cluster, "list")).split()

    await eventually(is_served, within_s=20, what="the service of a new object")
    made = await grpcurl(
        cluster, "objectql.app.v1.GadgetService/CreateGadget", data='{"gadget": {"name": "x"}}'
    )
    assert json.loads(made)["name"] == "x"


async def test_a_stranger_and_a_viewer_are_refused_as_everywhere(cluster: Cluster) -> None:
    stranger = Rpc(cluster.env["OQL_GRPC_TARGET"])
    viewer = Rpc(
        cluster.env["OQL_GRPC_TARGET"],
        {"authorization": f"Bearer {token_of(cluster, 'v', role='viewer')}"},
    )
    sent = {"object": "account", "data": {"name": "x"}}
    assert (await refusal(stranger.one(f"{ALL}/Create", sent))).http == 401
    assert (await refusal(viewer.one(f"{ALL}/Create", sent))).http == 403
    await stranger.close()
    await viewer.close()
