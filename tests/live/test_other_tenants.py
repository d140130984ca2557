"""What a tenant asks about another's records is answered as if there were none, wherever they lie.

The other half of `tests/security/cross_tenant`, for the WebSocket gateway.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest

from objectql_devstack.cluster import Cluster
from tests.clusters import administrator, body, eventually, token_of
from tests.live.sockets import FrameDict, Socket, open_socket

pytestmark = pytest.mark.servers

QUESTIONS: dict[str, dict[str, Any]] = {
    "id": {"where": {"id": "<id>"}, "snapshot": True},
    "ids": {"where": {"id": {"$in": ["<id>", "x"]}}, "fields": ["name"], "snapshot": True},
    "name": {"where": {"name": "<name>"}, "snapshot": True},
    "either": {"where": {"$or": [{"id": "<id>"}, {"topic": "<name>"}]}, "snapshot": True},
    "but one": {"where": {"$not": {"name": "x"}}, "snapshot": True},
    "parent": {"where": {"parent": "<id>"}, "snapshot": True},
    "latest": {"where": {"id": "<id>"}, "snapshot": True, "mode": "live"},
    "cursor": {"from": "<cursor>"},
}


TOLD = "told to nobody"


class Tenant(NamedTuple):
    """One with a socket and its API, both as its administrator."""

    id: str
    socket: Socket
    api: httpx.AsyncClient

    async def write(self, **record: Any) -> None:
        answer = await self.api.post("/api/note", content=body(record))
        assert answer.status_code == 201, answer.text

    async def asks(self, name: str, known: dict[str, str]) -> FrameDict:
        """The answer to a question, without what differs between any two."""
        text = json.dumps(QUESTIONS[name])
        for key, value in known.items():
            text = text.replace(f"<{key}>", value)
        sub = f"{name} {known['id']}"
        await self.socket.say(type="subscribe", id=sub, object="note", **json.loads(text))
        told = await self.socket.hear()
        return {key: told[key] for key in told.keys() - {"sub", "cursor", "requestId"}}


@asynccontextmanager
async def registered(
    cluster: Cluster, operator: httpx.AsyncClient, id: str, isolation: str
) -> AsyncGenerator[Tenant]:
    answer = await operator.post(
        "/api/admin/tenants", content=body({"id": id, "isolation": isolation})
    )
    assert answer.status_code == 201, answer.text
    token = token_of(cluster, "root", role="admin", tenant=id)
    async with administrator(cluster.env, id) as api, AsyncExitStack() as stack:

        async def is_served() -> bool:
            return (await api.get("/api/note")).status_code == 200

        await eventually(is_served, within_s=30, what=f"the tenant {id}")
        socket = await stack.enter_async_context(open_socket(cluster.env["OQL_WS_URL"], token))
        yield Tenant(id, socket, api)


@pytest.mark.parametrize("isolation", ["row", "schema", "database"])
async def test_another_tenants_records_are_not_there(
    cluster: Cluster, api: httpx.AsyncClient, isolation: str
) -> None:
    async with (
        registered(cluster, api, f"victim-{isolation}", isolation) as victim,
        registered(cluster, api, f"rival-{isolation}", isolation) as rival,
    ):
        first = await victim.socket.subscribe("note", "all")
        await victim.socket.say(type="unsubscribe", sub="all")
        assert (await victim.socket.hear())["type"] == "unsubscribed"
        await victim.write(id="secret", name=TOLD, topic=TOLD)
        await victim.write(id="child", name=TOLD, parent="secret")
        for tenant in (victim, rival):
            await tenant.write(id="twin", name=tenant.id)
        theirs = {"id": "secret", "name": TOLD, "cursor": first["cursor"]}
        nothing = {"id": "nothing", "name": "never", "cursor": "A" * len(first["cursor"])}
        for name in QUESTIONS:
            about = await rival.asks(name, theirs)
            assert about == await rival.asks(name, nothing), name
            assert TOLD not in json.dumps(about)
            owned = await victim.asks(name, theirs)
            assert name == "cursor" or TOLD in json.dumps(owned), name
        [twin] = (await rival.asks("id", {"id": "twin"}))["items"]
        assert twin["name"] == rival.id

        for id in ("secret", "twin"):
            answer = await victim.api.patch(f"/api/note/{id}", content=body({"topic": TOLD}))
            assert answer.status_code == 200, answer.text
        await rival.write(name="fence")
        everything = {"but one secret", "but one nothing"}
        heard: dict[str, str] = {}
        while heard.keys() < everything:
            told = await rival.socket.hear()
            heard[told["sub"]] = told["data"]["name"]
        assert heard == dict.fromkeys(everything, "fence")
