"""T18: a kernel that dies in the middle of a hook has done nothing of what the hook had begun."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from tests.clusters import body, client, eventually
from tests.streams import all_events, unpublished

from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]

PACKAGE = {
    "package.yml": "name: slow\nversion: 1.0.0\n",
    "thing.object.yml": "label: Thing\nnameField: name\nfields:\n  name: {type: text}\n",
    "thing.permission.yml": (
        "object: thing\nroles: [admin]\n"
        "object_permissions: {create: [admin], read: [admin], view_all: [admin]}\n"
    ),
    "thing.hook.py": '''
"""Makes another record with each, and then has no end, the first time."""

import asyncio
from pathlib import Path

from objectql.plugins.context import HookContext

MARK = Path(__file__).with_name("begun")


async def after_create(ctx: HookContext) -> None:
    if ctx.data.get("name") == "first":
        await ctx.api.create("thing", {"name": "second"})
        if not MARK.exists():
            MARK.touch()
            await asyncio.sleep(3600)
''',
}


async def test_what_a_hook_had_begun_is_undone_and_the_repeated_request_runs_once(
    tmp_path: Path,
) -> None:
    package = tmp_path / "slow"
    package.mkdir()
    for name, text in PACKAGE.items():
        (package / name).write_text(text)
    cluster = Cluster(
        tmp_path,
        ports="free",
        kernels=1,
        counts={"coordinator": 1},
        metadata=[package],
        ephemeral=True,
    )
    await asyncio.to_thread(cluster.start)
    try:
        async with client(cluster.env) as http:
            first = asyncio.create_task(create(http))
            await eventually(begun(package), within_s=20, what="the hook")
            await asyncio.to_thread(cluster.kill, "kernel-1")
            answer = await first
            assert answer.status_code in {503, 504}, answer.text
            await asyncio.to_thread(cluster.restart, "kernel-1")

            async def repeated() -> httpx.Response | None:
                answer = await create(http)
                return answer if answer.status_code == 201 else None

            await eventually(repeated, within_s=20, what="the repeated request")
            again = await create(http)
            found = (await http.get("/api/thing", params={"$orderby": "name"})).json()["items"]
        assert [item["name"] for item in found] == ["first", "second"]
        assert again.json()["id"] == found[0]["id"]

        async def is_told() -> bool:
            return await unpublished(cluster.env["OQL_PG_URL"]) == 0

        await eventually(is_told, within_s=15, what="the relay emptying the outbox")
        events = await all_events(cluster.env["OQL_NATS_URL"])
    finally:
        await asyncio.to_thread(cluster.stop)
    told = sorted((event.object, event.kind, event.record_id) for event in events)
    assert told == sorted(("thing", "created", item["id"]) for item in found)


async def create(http: httpx.AsyncClient) -> httpx.Response:
    return await http.post(
        "/api/thing",
        content=body({"name": "first"}),
        headers={"Idempotency-Key": "one", "X-Timeout-Ms": "8000"},
    )


def begun(package: Path) -> Callable[[], Awaitable[bool]]:
    async def is_there() -> bool:
        return (package / "begun").exists()

    return is_there
