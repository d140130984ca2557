"""The commands for users, keys and tokens do on a running cluster what they say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import jwt
import pytest
from tests.clusters import eventually
from tests.security.identity.issuer import Issuer
from tests.security.identity.people import PASSWORD, bearer, new_person, sign_in, status
from typer.testing import CliRunner, Result

from objectql.cli.main import app
from objectql_devstack.cluster import Cluster

pytestmark = pytest.mark.servers

WITHIN_S = 10.0
"""The promise is one second; a slow machine may take longer without being wrong."""

Run = Callable[..., Result]


@pytest.fixture
def run(cluster: Cluster) -> Run:
    env = {name: cluster.env[name] for name in ("OQL_REST_URL", "OQL_ADMIN_TOKEN")}

    def command(*words: str, ends_with: int = 0) -> Result:
        done = CliRunner().invoke(app, list(words), env=env)
        assert done.exit_code == ends_with, done.output
        return done

    return command


@pytest.fixture
def password(tmp_path: Path) -> str:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return str(file)


async def refused(gateways: tuple[httpx.AsyncClient, ...], token: str) -> None:
    async def everywhere() -> bool:
        return [await status(http, token) for http in gateways] == [401] * len(gateways)

    await eventually(everywhere, within_s=WITHIN_S, what="the refusal everywhere")


async def test_a_user_is_made_changed_disabled_and_enabled(
    run: Run, password: str, other: httpx.AsyncClient
) -> None:
    made = run("user", "create", "Lovelace", "--role", "viewer", "--password-file", password)
    id = made.output.strip()
    assert (await sign_in(other, "lovelace")).json()["user"]["roles"] == ["viewer"]
    run("user", "roles", "lovelace", "admin", "viewer")
    assert f"{id}  lovelace  active  admin,viewer" in run("user", "list").output
    run("user", "disable", id)
    assert "lovelace  disabled" in run("user", "list").output
    assert (await sign_in(other, "lovelace")).status_code == 401
    run("user", "enable", "lovelace")
    run("user", "password", "lovelace", "--must-change", "--password-file", password)
    assert (await sign_in(other, "lovelace")).json()["code"] == "PASSWORD_CHANGE_REQUIRED"


async def test_a_key_is_made_listed_and_revoked(
    run: Run, admin: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    run("user", "create", "nightjob", "--service", "--role", "viewer")
    made = run("key", "create", "nightly", "--user", "nightjob", "--scope", "account:read")
    key = made.output.strip()
    assert [await status(http, key) for http in (admin, other)] == [200, 200]
    line = next(line for line in run("key", "list").output.splitlines() if "nightly" in line)
    assert "account:read" in line
    assert key not in line
    run("key", "revoke", line.split()[0])
    await refused((admin, other), key)


async def test_tokens_are_revoked_by_subject_session_and_id(
    run: Run, admin: httpx.AsyncClient, other: httpx.AsyncClient, issuer: Issuer
) -> None:
    gateways = (admin, other)
    person = await new_person(admin, roles=["admin"])
    session = jwt.decode(person.access, options={"verify_signature": False})["sid"]
    by_id = issuer.token(jti="one-token", sub="abroad")
    by_subject = issuer.token(jti="another", sub="abroad", iat=1)
    for token in (person.access, by_id, by_subject):
        assert [await status(http, token) for http in gateways] == [200, 200]
    run("token", "revoke", "one-token")
    await refused(gateways, by_id)
    assert await status(other, by_subject) == 200
    run("token", "revoke", "--session", session)
    await refused(gateways, person.access)
    again = (await sign_in(other, person.name)).json()["access_token"]
    run("token", "revoke", "--subject", person.id)
    await refused(gateways, again)
    run("user", "revoke", "abroad")
    await refused(gateways, by_subject)
    assert (await sign_in(other, person.name)).status_code == 200


def test_what_is_refused_ends_with_one_and_a_reason(run: Run) -> None:
    assert "there is no user" in run("user", "disable", "nobody-at-all", ends_with=1).output
    run("token", "revoke", ends_with=2)
    run("token", "revoke", "a", "--session", "b", ends_with=2)


async def test_a_revoked_user_has_no_session_left(
    admin: httpx.AsyncClient, other: httpx.AsyncClient, run: Run
) -> None:
    person = await new_person(admin)
    run("user", "revoke", person.name)
    answer = await other.post("/api/auth/refresh", json={"refresh_token": person.refresh})
    assert answer.status_code == 401


async def test_the_keys_of_the_cluster_verify_its_tokens(
    admin: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    person = await new_person(admin)
    kid = jwt.get_unverified_header(person.access)["kid"]

    async def published() -> httpx.Response | None:
        """The first key signs at once: another gateway may hear of it a moment later."""
        answer = await other.get("/api/auth/jwks.json", headers={"authorization": ""})
        return answer if kid in answer.text else None

    answer, _ = await eventually(published, within_s=30, what="the key")
    assert answer.headers["cache-control"] == "public, max-age=15"
    keys = {key["kid"]: key for key in answer.json()["keys"]}
    assert all(key.keys() == {"kty", "crv", "alg", "use", "kid", "x"} for key in keys.values())
    key = jwt.PyJWK(keys[kid])
    claims = jwt.decode(person.access, key, algorithms=["EdDSA"], issuer="objectql")
    assert claims["sub"] == person.id
    assert (await admin.get("/api/auth/me", headers=bearer(person.access))).status_code == 200


async def test_a_gateway_that_is_not_to_publish_keys_has_no_such_page(
    admin: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    kept, nothing = [await admin.get(f"/api/auth/{page}") for page in ("jwks.json", "no-such-page")]
    assert kept.status_code == nothing.status_code == 404
    assert kept.json()["code"] == nothing.json()["code"]
    assert (await other.get("/api/auth/jwks.json")).status_code == 200
