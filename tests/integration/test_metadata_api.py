"""Metadata written over the API holds at once, everywhere, and after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from tests.clusters import CRM, body, client, eventually
from tests.streams import kernels_with_metadata

from objectql_devstack.cluster import Cluster

pytestmark = pytest.mark.servers

GATEWAYS = ("gateway-rest-1", "gateway-rest-2")
KERNELS = ("kernel-1", "kernel-2")
ASKED_AT_ONCE = 16
"""Concurrent requests per gateway: with two kernels in the queue group, both get some."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    """Two kernels and two REST gateways, for the tests that change what is published."""
    root = tmp_path_factory.mktemp("pair")
    with Cluster(
        root, ports="free", kernels=2, counts={"gateway-rest": 2}, metadata=[CRM], ephemeral=True
    ) as running:
        yield running


@pytest.fixture
async def gateways(pair: Cluster) -> AsyncGenerator[list[httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                client({**pair.env, "OQL_REST_URL": f"http://{pair.address(name)}"})
            )
            for name in GATEWAYS
        ]


def machine(**fields: Any) -> dict[str, Any]:
    return {
        "label": "Machine",
        "fields": {"name": {"type": "text", "required": True, "searchable": True}, **fields},
    }


async def put(http: httpx.AsyncClient, name: str, document: Any, **more: Any) -> httpx.Response:
    return await http.put(f"/api/meta/object/{name}", content=body(document), **more)


async def everywhere(
    gateways: list[httpx.AsyncClient], path: str, status: int, **params: str
) -> bool:
    """Whether many requests at once, at every gateway, are all answered with `status`."""
    answers = await asyncio.gather(
        *(http.get(path, params=params) for http in gateways for _ in range(ASKED_AT_ONCE))
    )
    return {answer.status_code for answer in answers} == {status}


async def test_a_new_object_is_served_everywhere_within_a_second(
    pair: Cluster, gateways: list[httpx.AsyncClient]
) -> None:
    answer = await put(gateways[0], "machine", machine(power={"type": "number"}))
    assert answer.status_code == 200, answer.text

    async def served() -> bool:
        return await everywhere(gateways, "/api/machine", 200, **{"$filter": "power gt 1"})

    await eventually(served, within_s=1, what="the object at every kernel and gateway")

    async def described() -> bool:
        documents = [(await http.get("/openapi.json")).json() for http in gateways]
        return all("/api/machine" in document["paths"] for document in documents)

    await eventually(described, within_s=1, what="the object in every OpenAPI document")
    async with asyncio.timeout(5):
        following = await kernels_with_metadata(
            pair.env["OQL_NATS_URL"], answer.json()["version"], count=len(KERNELS)
        )
    assert following == set(KERNELS)

    listed = (await gateways[1].get("/api/meta/object")).json()["items"]
    assert "machine" in {item["name"] for item in listed}
    types = {
        item["type"]: item["count"] for item in (await gateways[1].get("/api/meta")).json()["items"]
    }
    assert types["object"] == len(listed)


async def test_an_added_field_gets_its_column_and_old_rows_stay(
    gateways: list[httpx.AsyncClient],
) -> None:
    assert (await put(gateways[0], "lathe", machine())).status_code == 200
    made = await gateways[0].post("/api/lathe", content=body({"name": "Old"}))
    assert made.status_code == 201, made.text

    grown = machine(speed={"type": "int", "min": 1}, note={"type": "text", "defaultValue": "new"})
    answer = await put(gateways[0], "lathe", grown)
    assert answer.status_code == 200, answer.text
    assert any("speed" in change for change in answer.json()["changes"]), answer.text

    async def known() -> bool:
        return await everywhere(gateways, "/api/lathe", 200, **{"$filter": "speed eq null"})

    await eventually(known, within_s=1, what="the field at every kernel and gateway")
    old = (await gateways[1].get(f"/api/lathe/{made.json()['id']}")).json()
    assert (old["name"], old["speed"]) == ("Old", None)
    new = await gateways[1].post("/api/lathe", content=body({"name": "New", "speed": 3}))
    assert (new.status_code, new.json()["note"]) == (201, "new"), new.text
    bad = await gateways[1].post("/api/lathe", content=body({"name": "Bad", "speed": 0}))
    assert bad.status_code == 400


async def test_invalid_metadata_is_refused_with_every_problem(
    gateways: list[httpx.AsyncClient],
) -> None:
    answer = await put(
        gateways[0],
        "broken",
        {
            "fields": {
                "a": {"type": "txet"},
                "b": {"type": "lookup", "reference": "acount"},
                "c": {"type": "number", "min": 3, "max": 1},
                "d": {"type": "text", "requierd": True},
            }
        },
    )
    assert answer.status_code == 400
    problem = answer.json()
    assert problem["code"] == "INVALID_METADATA"
    paths = " ".join(error["path"] for error in problem["errors"])
    assert len(problem["errors"]) == 4, problem
    assert all(f"fields.{name}" in paths for name in "abcd"), paths
    text = " ".join(error["message"] for error in problem["errors"])
    for meant in ("text", "account", "required"):
        assert meant in text
    assert (await gateways[0].get("/api/meta/object/broken")).status_code == 404


async def test_a_change_that_loses_data_needs_consent(gateways: list[httpx.AsyncClient]) -> None:
    full = machine(serial={"type": "text"}, weight={"type": "number"})
    assert (await put(gateways[0], "press", full)).status_code == 200
    made = await gateways[0].post("/api/press", content=body({"name": "P", "serial": "s1"}))
    assert made.status_code == 201

    refused = await put(gateways[0], "press", machine(weight={"type": "number"}))
    assert refused.status_code == 409, refused.text
    assert refused.json()["code"] == "DESTRUCTIVE_CHANGE"
    assert any(
        "serial" in error["message"] and "press" in error["message"]
        for error in refused.json()["errors"]
    ), refused.text
    kept = (await gateways[0].get(f"/api/press/{made.json()['id']}")).json()
    assert kept["serial"] == "s1"

    allowed = await put(
        gateways[0],
        "press",
        machine(weight={"type": "number"}),
        params={"allow_destructive": "true"},
    )
    assert allowed.status_code == 200, allowed.text
    assert "serial" not in (await gateways[0].get(f"/api/press/{made.json()['id']}")).json()


async def test_a_document_changed_since_it_was_read_is_not_overwritten(
    gateways: list[httpx.AsyncClient],
) -> None:
    assert (await put(gateways[0], "drill", machine())).status_code == 200
    read = await gateways[0].get("/api/meta/object/drill")
    tag = read.headers["ETag"]
    unchanged = await gateways[0].get("/api/meta/object/drill", headers={"If-None-Match": tag})
    assert unchanged.status_code == 304

    mine, theirs = machine(mine={"type": "text"}), machine(theirs={"type": "text"})
    assert (await put(gateways[0], "drill", theirs, headers={"If-Match": tag})).status_code == 200
    late = await put(gateways[0], "drill", mine, headers={"If-Match": tag})
    assert late.status_code == 412, late.text
    unknown = await put(gateways[0], "drill", mine, headers={"If-Match": '"something-else"'})
    assert unknown.status_code == 412, unknown.text
    assert "theirs" in (await gateways[0].get("/api/meta/object/drill")).json()["fields"]


async def test_published_metadata_survives_the_restart_of_every_kernel(
    pair: Cluster, gateways: list[httpx.AsyncClient]
) -> None:
    assert (await put(gateways[0], "saw", machine(teeth={"type": "int"}))).status_code == 200
    made = await gateways[0].post("/api/saw", content=body({"name": "S", "teeth": 40}))
    assert made.status_code == 201
    for name in KERNELS:
        await asyncio.to_thread(pair.restart, name)
    assert await everywhere(gateways, f"/api/saw/{made.json()['id']}", 200)
    assert (await gateways[1].get("/api/meta/object/saw")).json()["fields"]["teeth"]


async def test_a_deleted_object_is_gone_and_an_override_gives_way(
    gateways: list[httpx.AsyncClient],
) -> None:
    assert (await put(gateways[0], "brush", machine())).status_code == 200
    gone = await gateways[0].delete("/api/meta/object/brush")
    assert gone.status_code == 200, gone.text

    async def forgotten() -> bool:
        return await everywhere(gateways, "/api/brush", 404)

    await eventually(forgotten, within_s=1, what="the object gone everywhere")
    assert (await gateways[0].get("/api/meta/object/brush")).status_code == 404
    assert (await gateways[0].delete("/api/meta/object/brush")).status_code == 404

    declared = (await gateways[0].get("/api/meta/object/task")).json()
    changed = {"label": "Chore", "fields": declared["fields"]}
    overridden = await put(gateways[0], "task", changed)
    assert overridden.status_code == 200, overridden.text
    assert (await gateways[0].get("/api/meta/object/task")).json()["label"] == "Chore"
    assert (await gateways[0].delete("/api/meta/object/task")).status_code == 200
    assert (await gateways[0].get("/api/meta/object/task")).json()["label"] == "Task"


async def test_what_others_refer_to_cannot_be_deleted(gateways: list[httpx.AsyncClient]) -> None:
    assert (await put(gateways[0], "tool", machine())).status_code == 200
    holder = machine(tool={"type": "lookup", "reference": "tool"})
    assert (await put(gateways[0], "holder", holder)).status_code == 200
    refused = await gateways[0].delete("/api/meta/object/tool")
    assert refused.status_code == 400, refused.text
    (error,) = refused.json()["errors"]
    assert (error["path"], error["code"]) == ("fields.tool.reference", "unknown_reference")
    assert error["file"] == "object/holder"
    assert (await gateways[0].get("/api/tool")).status_code == 200
