"""S5: tokens that are forged, confused, stale or absurd, before a running gateway."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.clusters import eventually
from tests.security.identity.issuer import NEVER_S, Issuer
from tests.security.identity.people import bearer, new_person, status

from objectql_devstack.cluster import Cluster

pytestmark = pytest.mark.servers

NO_ALGORITHM = b'{"alg":"nOnE"}'


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: dict[str, Any], payload: bytes, secret: bytes) -> str:
    signed = f"{b64(json.dumps(header).encode())}.{b64(payload)}"
    return f"{signed}.{b64(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"


@pytest.mark.parametrize("kid", ["rsa", "curve", "edwards"])
async def test_an_issuer_that_is_discovered_speaks_for_its_users(
    other: httpx.AsyncClient, issuer: Issuer, kid: str
) -> None:
    me = (await other.get("/api/auth/me", headers=bearer(issuer.token(kid)))).json()
    assert (me["id"], me["tenant"], me["roles"]) == ("external", "default", ["admin"])


def attacks(cluster: Cluster, issuer: Issuer, access: str) -> dict[str, str]:
    """A token for each attack, by what it tries."""
    secret = cluster.env["OQL_JWT_SECRET"]
    good = {"sub": "eve", "roles": ["admin"], "exp": NEVER_S}
    payload = json.dumps({**good, "iss": issuer.url, "aud": "oql"}).encode()
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = (
        issuer.keys["rsa"]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    own_kid = jwt.get_unverified_header(access)["kid"]
    own = jwt.decode(access, options={"verify_signature": False})

    def with_header(**header: Any) -> str:
        return jwt.encode(good, secret, algorithm="HS256", headers=header)

    changed = json.dumps({**own, "roles": ["system"]}).encode()
    head, body, signature = access.split(".")
    twice = b'{"sub":"eve","sub":"root","roles":["admin"],"exp":%d}' % NEVER_S
    return {
        "no algorithm": jwt.encode(good, "", algorithm="none"),
        "No algorithm, spelt otherwise": f"{b64(NO_ALGORITHM)}.{b64(payload)}.",
        "no signature": f"{head}.{body}.",
        "another's signature": jwt.encode(good, "x" * 40, algorithm="HS256"),
        "public key as secret": forged({"alg": "HS256", "kid": "rsa"}, payload, pem),
        "cluster's key id, another key": issuer.token(own_kid, key=key, iss="objectql"),
        "cluster's issuer, issuer's key": issuer.token(iss="objectql"),
        "cluster's claims, changed": f"{head}.{b64(changed)}.{signature}",
        "another curve": issuer.token("curve", key=ec.generate_private_key(ec.SECP256R1())),
        "key id as a path": issuer.token("../../../dev/null", key=key),
        "key id as SQL": issuer.token("' OR 1=1 --", key=key),
        "key address": with_header(jku="https://evil/keys"),
        "certificate address": with_header(x5u="https://evil/cert"),
        "certificate": with_header(x5c=["AAAA"]),
        "key inside": with_header(jwk={"kty": "oct", "k": b64(secret.encode())}),
        "critical extension": with_header(crit=["b64"], b64=False),
        "another audience": issuer.token(aud="other"),
        "no audience": issuer.token(aud=None),
        "another issuer": issuer.token(iss="https://evil"),
        "a tenant that is not the issuer's": issuer.token(org={"id": "globex"}),
        "no tenant": issuer.token(org={}),
        "expired": issuer.token(exp=1),
        "no end": issuer.token(exp=None),
        "not yet": issuer.token(nbf=NEVER_S),
        "issued in the future": issuer.token(iat=NEVER_S),
        "endless": issuer.token(exp=10**400),
        "claims twice": forged({"alg": "HS256"}, twice, secret.encode()),
        "not a number": forged(
            {"alg": "HS256"}, b'{"sub":"eve","roles":["admin"],"exp":NaN}', secret.encode()
        ),
        "huge": jwt.encode({**good, "x": "y" * 9000}, secret, algorithm="HS256"),
        "roles as text": issuer.token(realm_access={"roles": "admin"}),
        "no subject": issuer.token(sub=""),
        "encrypted": "a.b.c.d.e",
        "empty parts": "..",
    }


async def test_every_attack_is_refused_with_the_same_bytes(
    cluster: Cluster, admin: httpx.AsyncClient, other: httpx.AsyncClient, issuer: Issuer
) -> None:
    person = await new_person(admin, roles=["admin"])
    answers: dict[str, tuple[int, str]] = {}
    for name, token in attacks(cluster, issuer, person.access).items():
        headers = {**bearer(token), "X-Request-Id": "same"}
        answer = await other.get("/api/account", headers=headers)
        assert answer.headers["www-authenticate"] == "Bearer", name
        answers[name] = (answer.status_code, answer.text)
    assert {code for code, _ in answers.values()} == {401}, answers
    assert len({text for _, text in answers.values()}) == 1


async def test_keys_change_while_tokens_of_both_are_used(
    other: httpx.AsyncClient, issuer: Issuer
) -> None:
    """The issuer changes keys as issuers do: publish, sign with the new one, withdraw the old."""
    old = issuer.token("rsa")
    assert await status(other, old) == 200
    following = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    issuer.keys["rsa-2"] = following
    refused = list[int]()
    is_over = asyncio.Event()

    async def use_old() -> None:
        while not is_over.is_set():
            code = await status(other, old)
            if code != 200:
                refused.append(code)

    using = asyncio.create_task(use_old())
    try:

        async def is_new_accepted() -> bool:
            return await status(other, issuer.token("rsa-2")) == 200

        await eventually(is_new_accepted, within_s=10, what="the new key")
    finally:
        is_over.set()
        await using
    assert refused == []


def joined(parts: list[Any]) -> str:
    return ".".join(b64(json.dumps(part).encode()) for part in parts)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.one_of(
        st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=200),
        st.builds(
            joined,
            st.lists(
                st.recursive(
                    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                    lambda inner: (
                        st.lists(inner, max_size=3)
                        | st.dictionaries(
                            st.sampled_from(["alg", "kid", "iss", "sub", "exp", "roles", "x"]),
                            inner | st.sampled_from(["HS256", "EdDSA", "RS256", "objectql"]),
                            max_size=5,
                        )
                    ),
                    max_leaves=8,
                ),
                min_size=2,
                max_size=4,
            ),
        ),
        st.text(st.sampled_from("oqlk_-.aZ0"), max_size=60).map("oqlk_".__add__),
    )
)
def test_no_text_as_a_token_is_answered_otherwise(cluster: Cluster, token: str) -> None:
    answer = httpx.get(
        f"{cluster.env['OQL_REST_URL']}/api/account",
        headers={**bearer(token), "X-Request-Id": "same"},
    )
    assert answer.status_code == 401
    assert json.loads(answer.text)["code"] == "UNAUTHENTICATED"
    assert len(answer.content) == EXPECTED_BYTES


EXPECTED_BYTES = len(
    json.dumps(
        {
            "type": "urn:objectql:error:UNAUTHENTICATED",
            "title": "Unauthorized",
            "status": 401,
            "detail": "valid credentials are required",
            "code": "UNAUTHENTICATED",
            "errors": [],
            "request_id": "same",
        },
        separators=(",", ":"),
    )
)
