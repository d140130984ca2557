"""S6: who is cut off is cut off in every gateway within a second, whatever was heard of it."""

from __future__ import annotations

import asyncpg
import httpx
import jwt
import pytest
from tests.clusters import body, eventually
from tests.security.identity.people import Person, bearer, new_person, sign_in, status

from objectql_devstack.cluster import Cluster

pytestmark = pytest.mark.servers

ALLOWED_S = 10.0
"""The promise is one second; a slow machine may take longer without being wrong."""


async def refused(
    gateways: tuple[httpx.AsyncClient, ...], token: str, expected: int = 401
) -> float:
    """Seconds until both gateways refuse `token`."""

    async def all_refuse() -> bool:
        return [await status(http, token) for http in gateways] == [expected] * len(gateways)

    _, took_s = await eventually(all_refuse, within_s=ALLOWED_S, what=f"{expected} everywhere")
    return took_s


@pytest.fixture
async def person(admin: httpx.AsyncClient, other: httpx.AsyncClient) -> Person:
    """Somebody whom both gateways have believed."""
    made = await new_person(admin, roles=["admin"])
    assert [await status(http, made.access) for http in (admin, other)] == [200, 200]
    return made


async def test_a_disabled_user_is_cut_off_and_may_come_back(
    admin: httpx.AsyncClient, other: httpx.AsyncClient, person: Person
) -> None:
    path = f"/api/auth/users/{person.id}"
    assert (await admin.patch(path, content=body({"active": False}))).status_code == 200
    await refused((admin, other), person.access)
    assert (await sign_in(other, person.name)).status_code == 401
    answer = await other.post("/api/auth/refresh", json={"refresh_token": person.refresh})
    assert answer.status_code == 401
    assert (await admin.patch(path, content=body({"active": True}))).status_code == 200
    again = (await sign_in(other, person.name)).json()["access_token"]
    assert await status(admin, again) == 200
    assert await status(other, person.access) == 401


async def test_a_deleted_user_is_cut_off(
    admin: httpx.AsyncClient, other: httpx.AsyncClient, person: Person
) -> None:
    assert (await admin.delete(f"/api/auth/users/{person.id}")).status_code == 204
    await refused((admin, other), person.access)
    assert (await sign_in(other, person.name)).status_code == 401


async def test_a_lost_role_is_lost_at_once_and_the_session_goes_on_without_it(
    admin: httpx.AsyncClient, other: httpx.AsyncClient, person: Person
) -> None:
    path = f"/api/auth/users/{person.id}"
    assert (await admin.patch(path, content=body({"roles": ["stranger"]}))).status_code == 200
    await refused((admin, other), person.access)
    answer = await other.post("/api/auth/refresh", json={"refresh_token": person.refresh})
    assert answer.status_code == 200, answer.text
    less = answer.json()["access_token"]
    assert await status(other, less, "/api/auth/me") == 200
    assert await status(other, less, "/api/auth/users") == 403


async def test_signing_out_ends_the_session_and_no_other(
    admin: httpx.AsyncClient, other: httpx.AsyncClient, person: Person
) -> None:
    second = (await sign_in(other, person.name)).json()
    out = await other.post("/api/auth/sign-out", headers=bearer(person.access))
    assert out.status_code == 204
    await refused((admin, other), person.access)
    answer = await other.post("/api/auth/refresh", json={"refresh_token": person.refresh})
    assert answer.status_code == 401
    assert await status(admin, second["access_token"]) == 200
    everywhere = await other.post(
        "/api/auth/sign-out", headers=bearer(second["access_token"]), json={"everywhere": True}
    )
    assert everywhere.status_code == 204
    await refused((admin, other), second["access_token"])


async def test_a_revocation_that_nobody_was_told_of_is_noticed(
    cluster: Cluster, admin: httpx.AsyncClient, other: httpx.AsyncClient, person: Person
) -> None:
    """As by a kernel that died between its commit and its event."""
    database = await asyncpg.connect(cluster.env["OQL_PG_URL"])
    try:
        async with database.transaction():
            version = await database.fetchval(
                "UPDATE oql_revocation_state SET version = version + 1 RETURNING version"
            )
            await database.execute(
                "INSERT INTO oql_revocations VALUES ('user', 'default', $1, $2, $2, $3)",
                *(person.id, 2**53, version),
            )
    finally:
        await database.close()
    await refused((admin, other), person.access)


async def test_the_token_of_another_issuer_is_cut_off_by_subject_and_by_id(
    cluster: Cluster, admin: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    def token(subject: str, **more: object) -> str:
        claims = {"sub": subject, "roles": ["admin"], "exp": 4_000_000_000, **more}
        return jwt.encode(claims, cluster.env["OQL_JWT_SECRET"], algorithm="HS256")

    stranger = token("stranger-1")
    assert await status(other, stranger) == 200
    one = body({"kind": "user", "id": "stranger-1"})
    assert (await admin.post("/api/auth/revoke", content=one)).status_code == 204
    await refused((admin, other), stranger)

    known = await admin.post(
        "/api/auth/users", content=body({"id": "stranger-2", "name": "stranger-2"})
    )
    assert known.status_code == 201, known.text
    second = token("stranger-2")
    assert await status(other, second) == 200
    path = "/api/auth/users/stranger-2"
    assert (await admin.patch(path, content=body({"active": False}))).status_code == 200
    await refused((admin, other), second)

    leaked, sibling = token("stranger-3", jti="leaked"), token("stranger-3", jti="other")
    assert await status(other, leaked) == 200
    one = body({"kind": "token", "id": "leaked"})
    assert (await admin.post("/api/auth/revoke", content=one)).status_code == 204
    await refused((admin, other), leaked)
    assert await status(other, sibling) == 200


async def test_a_gateway_that_starts_knows_what_is_void(
    cluster: Cluster, admin: httpx.AsyncClient, other: httpx.AsyncClient, person: Person
) -> None:
    path = f"/api/auth/users/{person.id}"
    assert (await admin.patch(path, content=body({"active": False}))).status_code == 200
    cluster.restart("gateway-rest-2")
    assert await status(other, person.access) == 401
