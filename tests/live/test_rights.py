"""Nobody is told what they may not know, and whoever loses a right hears nothing more."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from objectql_devstack.cluster import Cluster
from tests.clusters import body, token_of
from tests.live.sockets import Socket, open_socket

pytestmark = pytest.mark.servers


async def create(api: httpx.AsyncClient, **fields: Any) -> str:
    answer = await api.post("/api/note", content=body(fields))
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def test_rows_are_told_to_those_who_see_them_and_leave_for_those_who_no_longer_do(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    url = cluster.env["OQL_WS_URL"]
    async with (
        open_socket(url, token_of(cluster, "ann")) as ann,
        open_socket(url, token_of(cluster, "bob")) as bob,
    ):
        for socket in (ann, bob):
            await socket.subscribe("note", where={"topic": "rows"}, snapshot=True)
        note = await create(api, name="of ann", topic="rows", owner="ann", secret="hidden")
        await api.patch(f"/api/note/{note}", content=body({"owner": "bob"}))
        await api.delete(f"/api/note/{note}")
        to_ann, to_bob = await ann.events(2), await bob.events(2)
    assert [(e["type"], e.get("match")) for e in to_ann] == [("created", None), ("deleted", "left")]
    assert [(e["type"], e.get("match")) for e in to_bob] == [
        ("updated", "entered"),
        ("deleted", None),
    ]
    assert set(to_ann[1]) == {"type", "object", "id", "match", "sub", "cursor"}
    for event in (*to_ann, *to_bob):
        assert "secret" not in event.get("data", {})


async def test_a_hidden_field_is_unknown_to_filters_and_selections(cluster: Cluster) -> None:
    async with open_socket(cluster.env["OQL_WS_URL"], token_of(cluster, "ann")) as socket:
        answers: list[dict[str, Any]] = []
        for asked in ({"where": {"secret": "x"}}, {"fields": ["secret"]}):
            for name in ("secret", "no_such"):
                text = body(asked).decode().replace("secret", name)
                await socket.connection.send(
                    '{"type":"subscribe","id":"s","object":"note",' + text[1:]
                )
                answers.append(await socket.hear())
    assert {(a["type"], a["code"]) for a in answers} == {("error", "INVALID_FIELD")}
    for hidden, unknown in zip(answers[::2], answers[1::2], strict=True):
        assert hidden["message"] == unknown["message"].replace("no_such", "secret")


async def test_whoever_may_not_read_is_refused(cluster: Cluster) -> None:
    async with open_socket(
        cluster.env["OQL_WS_URL"], token_of(cluster, "eve", role="nobody")
    ) as socket:
        await socket.say(type="subscribe", id="s", object="note")
        told = await socket.hear()
    assert (told["type"], told["code"], told["sub"]) == ("error", "PERMISSION_DENIED", "s")


async def test_what_two_lookups_lead_to_is_refused_and_never_guessed(socket: Socket) -> None:
    for asked in ({"where": {"parent.parent.name": "x"}}, {"fields": ["parent.name"]}):
        await socket.say(type="subscribe", id="s", object="note", **asked)
        told = await socket.hear()
        assert (told["type"], told["code"]) == ("error", "NOT_IMPLEMENTED")


async def test_tenants_hear_their_own_changes_only(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    url = cluster.env["OQL_WS_URL"]
    rival = token_of(cluster, "u", role="admin", tenant="rival")
    async with open_socket(url, rival) as socket:
        first = await socket.subscribe("note")
        await create(api, name="ours", topic="tenants")
        headers = {"Authorization": f"Bearer {rival}"}
        answer = await api.post("/api/note", content=body({"name": "theirs"}), headers=headers)
        assert answer.status_code == 201
        (told,) = await socket.events(1)
        assert told["data"]["name"] == "theirs"
    async with open_socket(url, cluster.env["OQL_ADMIN_TOKEN"]) as socket:
        await socket.say(type="subscribe", id="s", object="note", from_=first["cursor"])
        refused = await socket.hear()
    assert (refused["type"], refused["code"]) == ("error", "INVALID_QUERY")


async def test_a_token_that_expires_closes_its_socket(cluster: Cluster) -> None:
    # Tokens are accepted 30 s beyond their end (the clocks of issuers differ), sockets as well.
    nearly = token_of(cluster, "ann", exp=int(time.time()) - 20)
    async with open_socket(cluster.env["OQL_WS_URL"], nearly) as socket:
        await socket.subscribe("note")
        assert (await socket.closed())[0] == 4401


async def test_a_revoked_user_is_hung_up_on_and_hears_nothing_more(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    token = token_of(cluster, "carl", iat=int(time.time()) - 5)
    async with open_socket(cluster.env["OQL_WS_URL"], token) as socket:
        await socket.subscribe("note")
        answer = await api.post("/api/auth/revoke", content=body({"kind": "user", "id": "carl"}))
        assert answer.status_code < 300, answer.text
        assert await socket.closed() == (4401, "revoked")


async def key_of(api: httpx.AsyncClient, name: str) -> dict[str, Any]:
    """A key of a new service account that may read notes."""
    robot = {"name": name, "service": True, "roles": ["member"]}
    user = (await api.post("/api/auth/users", content=body(robot))).json()["id"]
    answer = await api.post("/api/auth/keys", content=body({"name": name, "user": user}))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_whoever_comes_with_an_api_key_is_hung_up_on_when_it_is_deleted(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    key = await key_of(api, "deleted-key")
    async with open_socket(cluster.env["OQL_WS_URL"], key["key"]) as socket:
        await socket.subscribe("note")
        assert (await api.delete(f"/api/auth/keys/{key['id']}")).status_code == 204
        assert await socket.closed() == (4401, "revoked")


async def test_what_an_api_key_stands_for_is_asked_again_when_its_user_changes(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    """Not after the 30 seconds for which an answer is remembered: the test waits ten at most."""
    key = await key_of(api, "demoted-key")
    async with open_socket(cluster.env["OQL_WS_URL"], key["key"]) as socket:
        await socket.subscribe("note")
        path = f"/api/auth/users/{key['user']}"
        assert (await api.patch(path, content=body({"roles": ["nobody"]}))).status_code == 200
        async with asyncio.timeout(10):
            told = await socket.hear()
        assert (told["type"], told["sub"]) == ("resync", "s")


async def test_a_suspended_tenant_is_hung_up_on(cluster: Cluster, api: httpx.AsyncClient) -> None:
    answer = await api.post("/api/admin/tenants", content=body({"id": "gone", "name": "Gone"}))
    assert answer.status_code == 201, answer.text
    token = token_of(cluster, "u", role="admin", tenant="gone", iat=int(time.time()) - 5)
    async with open_socket(cluster.env["OQL_WS_URL"], token) as socket:
        await socket.subscribe("note")
        answer = await api.patch("/api/admin/tenants/gone", content=body({"suspended": True}))
        assert answer.status_code == 200, answer.text
        assert await socket.closed() == (4401, "revoked")


async def test_changed_permissions_end_what_they_change_and_nothing_else(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    stored = (await api.get("/api/meta/permission/note")).json()
    stored.pop("name", None)
    async with (
        open_socket(cluster.env["OQL_WS_URL"], token_of(cluster, "ann")) as ann,
        open_socket(cluster.env["OQL_WS_URL"], cluster.env["OQL_ADMIN_TOKEN"]) as admin,
    ):
        for socket in (ann, admin):
            await socket.subscribe("note", where={"topic": "changed"}, fields=["name", "cost"])
        hidden = stored["field_permissions"] | {"cost": {"read": ["admin"], "update": ["admin"]}}
        changed = stored | {"field_permissions": hidden}
        answer = await api.put("/api/meta/permission/note", content=body(changed))
        assert answer.status_code == 200, answer.text
        try:
            told = await ann.hear()
            assert (told["type"], told["sub"], told["code"]) == ("error", "s", "INVALID_FIELD")
            await create(api, name="after", topic="changed", owner="ann", cost=5)
            (event,) = await admin.events(1)
            assert event["data"]["cost"] == 5
        finally:
            answer = await api.put("/api/meta/permission/note", content=body(stored))
            assert answer.status_code == 200, answer.text


async def test_what_a_tenant_gets_of_its_own_ends_what_it_changes_for_that_tenant(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    for tenant in ("extended", "plain"):
        answer = await api.post("/api/admin/tenants", content=body({"id": tenant, "name": tenant}))
        assert answer.status_code == 201, answer.text
    url, since = cluster.env["OQL_WS_URL"], int(time.time()) - 5
    async with (
        open_socket(url, token_of(cluster, "u", role="admin", tenant="extended", iat=since)) as one,
        open_socket(url, token_of(cluster, "u", role="admin", tenant="plain", iat=since)) as other,
    ):
        for socket in (one, other):
            await socket.subscribe("note")
            await socket.subscribe("note", id="named", fields=["name"])
        answer = await api.put(
            "/api/admin/tenants/extended/metadata/object/note",
            content=body({"fields": {"colour__c": {"type": "text"}}}),
        )
        assert answer.status_code == 200, answer.text
        told = await one.hear()
        assert (told["type"], told["sub"]) == ("resync", "s")
        answers: list[dict[str, Any]] = []
        for socket in (one, other):
            await socket.say(type="unsubscribe", sub="named")
            answers.append(await socket.hear())
        assert answers == [{"type": "unsubscribed", "sub": "named"}] * 2


async def test_nobody_is_hung_up_on(cluster: Cluster) -> None:
    """After ten seconds, which this test really waits: the close code is the claim."""
    async with open_socket(cluster.env["OQL_WS_URL"], None) as socket:
        started = asyncio.get_running_loop().time()
        assert (await socket.closed())[0] == 4408
        assert asyncio.get_running_loop().time() - started >= 9
