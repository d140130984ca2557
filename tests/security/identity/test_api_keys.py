"""API keys: what they may do, that they are shown once, and that they end when they are revoked."""

from __future__ import annotations

from typing import Any

import asyncpg
import httpx
import pytest
from tests.clusters import body, eventually
from tests.security.identity.people import bearer, make_user, new_person, status

from objectql_devstack.cluster import Cluster

pytestmark = pytest.mark.servers

ALLOWED_S = 10.0


async def make_key(admin: httpx.AsyncClient, user: str, **more: Any) -> dict[str, Any]:
    answer = await admin.post(
        "/api/auth/keys", content=body({"name": "test", "user": user, **more})
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


async def service_key(admin: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    """A key of a new service account that may read and write accounts."""
    robot = await make_user(admin, password=None, service=True, roles=["sales"])
    return await make_key(admin, robot["id"], **more)


async def test_a_key_is_accepted_in_both_headers_and_acts_for_its_user(
    admin: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    key = await service_key(admin)
    for headers in ({"X-API-Key": key["key"]}, bearer(key["key"])):
        me = (await other.get("/api/auth/me", headers=headers)).json()
        assert (me["id"], me["roles"], me["scopes"]) == (key["user"], ["sales"], None)
        assert (await other.get("/api/account", headers=headers)).status_code == 200
    as_key = {"X-API-Key": key["key"]}
    assert (await other.get("/api/auth/users", headers=as_key)).status_code == 403
    made = await other.post("/api/account", headers=as_key, json={"name": "By key"})
    assert made.json()["created_by"] == key["user"]


async def test_scopes_narrow_down_what_the_user_may_do(
    admin: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    person = await new_person(admin, roles=["admin"])
    key = await make_key(admin, person.id, scopes=["account:read"])
    as_key = {"X-API-Key": key["key"]}
    assert (await other.get("/api/account", headers=as_key)).status_code == 200
    refused = [
        await other.get("/api/contact", headers=as_key),
        await other.post("/api/account", headers=as_key, json={"name": "x"}),
        await other.patch("/api/account/acme", headers=as_key, json={"name": "x"}),
        await other.delete("/api/account/acme", headers=as_key),
        await other.get("/api/auth/users", headers=as_key),
        await other.post("/api/auth/keys", headers=as_key, json={"name": "more"}),
        await other.put(
            "/api/meta/object/mine", headers=as_key, json={"fields": {"a": {"type": "text"}}}
        ),
    ]
    assert [answer.status_code for answer in refused] == [403] * len(refused)


async def test_a_key_may_be_good_for_exports_and_nothing_more_than_they_need(
    admin: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    person = await new_person(admin, roles=["admin"])
    answers: dict[str, int] = {}
    for scopes in (["account:read"], ["account:read", "account:export"]):
        key = await make_key(admin, person.id, scopes=scopes)
        answers[scopes[-1]] = await status(other, key["key"], "/api/v1/data/account/export")
    assert answers == {"account:read": 403, "account:export": 200}


async def test_a_key_is_shown_once_and_stored_as_a_hash(
    cluster: Cluster, admin: httpx.AsyncClient
) -> None:
    key = await service_key(admin)
    secret = key["key"].split("_", 2)[2]
    listed = await admin.get("/api/auth/keys?$top=1000")
    assert key["id"] in listed.text
    assert secret not in listed.text
    database = await asyncpg.connect(cluster.env["OQL_PG_URL"])
    try:
        rows = await database.fetch("SELECT * FROM oql_api_keys")
        rows += await database.fetch("SELECT * FROM oql_sessions")
        rows += await database.fetch("SELECT * FROM oql_users")
    finally:
        await database.close()
    assert secret not in str(rows)
    assert secret.encode() not in b"".join(v for row in rows for v in row if isinstance(v, bytes))
    for log in cluster.state.logs.iterdir():
        assert secret not in log.read_text()


@pytest.mark.parametrize("change", ["key", "user", "disabled", "expiry"])
async def test_a_key_ends_everywhere_with_what_it_depends_on(
    admin: httpx.AsyncClient, other: httpx.AsyncClient, change: str
) -> None:
    key = await service_key(admin)
    assert [await status(http, key["key"]) for http in (admin, other)] == [200, 200]
    if change == "key":
        answer = await admin.delete(f"/api/auth/keys/{key['id']}")
    elif change == "user":
        answer = await admin.delete(f"/api/auth/users/{key['user']}")
    elif change == "disabled":
        answer = await admin.patch(
            f"/api/auth/users/{key['user']}", content=body({"active": False})
        )
    else:
        past = body({"expires_at": "2020-01-01T00:00:00Z"})
        answer = await admin.patch(f"/api/auth/keys/{key['id']}", content=past)
    assert answer.status_code < 300, answer.text

    async def is_refused() -> bool:
        return [await status(http, key["key"]) for http in (admin, other)] == [401, 401]

    await eventually(is_refused, within_s=ALLOWED_S, what="the end of the key")


async def test_a_lost_role_is_lost_for_the_users_keys(
    admin: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    key = await service_key(admin)
    assert await status(other, key["key"]) == 200
    path = f"/api/auth/users/{key['user']}"
    assert (await admin.patch(path, content=body({"roles": ["stranger"]}))).status_code == 200

    async def is_refused() -> bool:
        return await status(other, key["key"]) == 403

    await eventually(is_refused, within_s=ALLOWED_S, what="the loss of the role")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": ""}, "name"),
        ({"roles": ["admin"]}, "roles"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["account"]}, "scopes"),
        ({"scopes": ["account:grant"]}, "scopes"),
        ({"scopes": ["Account:read"]}, "scopes"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
        ({"expires_at": "1969-12-31T23:59:59Z"}, "expires_at"),
    ],
)
async def test_what_no_key_can_be_is_refused(
    admin: httpx.AsyncClient, change: dict[str, Any], path: str
) -> None:
    robot = await make_user(admin, password=None, service=True, roles=["sales"])
    given = {"name": "test", "user": robot["id"], **change}
    answer = await admin.post("/api/auth/keys", content=body(given))
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["path"] == path
    kept = await admin.get("/api/auth/keys", params={"$top": "1000"})
    assert kept.status_code == 200, kept.text
    assert robot["id"] not in {key["user"] for key in kept.json()["items"]}


async def test_no_key_looks_like_any_other_refusal(
    admin: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    key = await service_key(admin)
    bodies: set[str] = set()
    for text in (
        key["key"][:-1],
        key["key"] + "x",
        f"oqlk_{key['id']}_",
        "oqlk_nobody_secret",
        "oqlk_",
        "sk_live_1",
        "",
    ):
        headers = {"X-API-Key": text, "X-Request-Id": "same"}
        answer = await other.get("/api/account", headers=headers)
        assert answer.status_code == 401, text
        bodies.add(answer.text)
    assert len(bodies) == 1
