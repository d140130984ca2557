from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from objectql.errors import Unauthenticated
from objectql.service import key_sets
from objectql.service.auth import TokenVerifier
from objectql.service.settings import AuthSettings

SECRET = "a-secret-of-the-tests-that-is-long-enough"
NOW_S = 1_800_000_000
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NEXT_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


class StillClock:
    def __init__(self) -> None:
        self.at_s = float(NOW_S)

    def now_ms(self) -> int:
        return round(self.at_s * 1000)

    def monotonic_s(self) -> float:
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        self.at_s += seconds


class Issuer:
    """Serves public keys, and counts how often it is asked."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"one": RSA_KEY, "curve": EC_KEY}
        self.asked = 0
        self.is_down = self.is_hanging = False
        self.more: list[Any] = []

    async def fetch(self, url: str) -> bytes:
        self.asked += 1
        if self.is_down:
            raise OSError("down")
        if self.is_hanging:
            await asyncio.Event().wait()
        return json.dumps(
            {"keys": [*self.more, *(self._jwk(kid, key) for kid, key in self.keys.items())]}
        ).encode()

    def _jwk(self, kid: str, key: Any) -> dict[str, Any]:
        is_rsa = isinstance(key, rsa.RSAPrivateKey)
        text = (RSAAlgorithm if is_rsa else ECAlgorithm).to_jwk(key.public_key())
        return {**json.loads(text), "kid": kid, "use": "sig"}


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "ann", "exp": NOW_S + 60, **more}


def hs(payload: dict[str, Any], secret: str = SECRET) -> str:
    return jwt.encode(payload, secret, algorithm="HS256")


def rs(payload: dict[str, Any], key: Any = RSA_KEY, kid: str = "one") -> str:
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    return jwt.encode({"aud": "oql", **payload}, key, algorithm=algorithm, headers={"kid": kid})


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: dict[str, Any], payload: bytes, key: bytes) -> str:
    signed = f"{b64(json.dumps(header).encode())}.{b64(payload)}"
    return f"{signed}.{b64(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


def dev(**more: Any) -> tuple[TokenVerifier, StillClock, list[str]]:
    clock, causes = StillClock(), list[str]()
    settings = AuthSettings(jwt_secret=SECRET, **more)
    return TokenVerifier(settings, clock=clock, refused=causes.append), clock, causes


async def test_claims_become_the_actor() -> None:
    verifier, _, _ = dev()
    token = hs(claims(tenant="acme", roles=["admin"], department="ops", iat=NOW_S))
    actor = await verifier.verify(token)
    assert (actor.id, actor.tenant, actor.roles) == ("ann", "acme", ("admin",))
    assert actor.claims == {"department": "ops"}
    assert not actor.is_system
    assert await verifier.verify(token) is actor
    assert (await verifier.verify(hs(claims()))).tenant == "default"


@pytest.mark.parametrize(
    ("token", "cause"),
    [
        ("", "length"),
        ("x" * 10_000, "length"),
        ("a.b.c", "malformed"),
        (hs(claims(), "another-secret-that-is-long-enough-too"), "signature"),
        (hs(claims(exp=NOW_S - 31)), "expired"),
        (hs(claims(nbf=NOW_S + 31)), "not_yet"),
        (hs({"sub": "ann"}), "claims"),
        (hs(claims(department="\ud800")), "claims"),
        (hs({"exp": NOW_S + 60}), "claims"),
        (hs(claims(sub="")), "claims"),
        (hs(claims(tenant="a.b")), "claims"),
        (hs(claims(roles="admin")), "claims"),
        (hs(claims(roles=[1])), "claims"),
        (hs(claims(exp=True)), "claims"),
        (jwt.encode(claims(), "", algorithm="none"), "algorithm"),
        (jwt.encode(claims(), SECRET * 2, algorithm="HS512"), "algorithm"),
        (rs(claims()), "algorithm"),
        (
            forged(
                {"alg": "HS256"},
                b'{"sub":"ann","sub":"root","exp":%d}' % (NOW_S + 60),
                SECRET.encode(),
            ),
            "claims",
        ),
        *(
            (forged({"alg": "HS256"}, b'{"sub":"ann",%s}' % times, SECRET.encode()), "claims")
            for times in (b'"exp":1e999', b'"exp":%d,"iat":-1e999' % (NOW_S + 60))
        ),
    ],
)
async def test_bad_token_is_refused_alike_whatever_the_cause(token: str, cause: str) -> None:
    verifier, _, causes = dev()
    with pytest.raises(Unauthenticated) as caught:
        await verifier.verify(token)
    assert caught.value.to_info() == Unauthenticated().to_info()
    assert causes == [cause]


async def test_remembered_token_still_expires() -> None:
    verifier, clock, _ = dev()
    token = hs(claims())
    await verifier.verify(token)
    clock.at_s += 60 + 29
    await verifier.verify(token)
    clock.at_s += 1
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_audience_and_issuer_are_checked_where_configured() -> None:
    verifier, _, causes = dev(audience="oql", issuer="https://id")
    await verifier.verify(hs(claims(aud="oql", iss="https://id")))
    for payload in (claims(aud="other", iss="https://id"), claims(aud="oql", iss="x"), claims()):
        with pytest.raises(Unauthenticated):
            await verifier.verify(hs(payload))
    assert causes[:2] == ["audience", "issuer"]
    lax, _, _ = dev()
    await lax.verify(hs(claims(aud="anything")))


def with_issuer() -> tuple[TokenVerifier, StillClock, Issuer]:
    clock, issuer = StillClock(), Issuer()
    settings = AuthSettings(jwks_url="https://id/keys", audience="oql")
    return TokenVerifier(settings, clock=clock, fetch=issuer.fetch), clock, issuer


async def test_public_keys_verify_rsa_and_elliptic_tokens_with_one_fetch() -> None:
    verifier, _, issuer = with_issuer()
    assert (await verifier.verify(rs(claims()))).id == "ann"
    assert (await verifier.verify(rs(claims(), EC_KEY, "curve"))).id == "ann"
    assert issuer.asked == 1


async def test_public_key_never_serves_as_hmac_secret_nor_under_another_algorithm() -> None:
    verifier, _, _ = with_issuer()
    pem = RSA_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    payload = json.dumps(claims()).encode()
    for header in ({"alg": "HS256", "kid": "one"}, {"alg": "ES256", "kid": "one"}):
        with pytest.raises(Unauthenticated):
            await verifier.verify(forged(header, payload, pem))


async def test_rotated_key_is_fetched_once_and_unknown_ids_do_not_hammer_the_issuer() -> None:
    verifier, clock, issuer = with_issuer()
    await verifier.verify(rs(claims()))
    issuer.keys["two"] = NEXT_RSA_KEY
    clock.at_s += 11
    assert (await verifier.verify(rs(claims(), NEXT_RSA_KEY, "two"))).id == "ann"
    assert issuer.asked == 2
    for number in range(20):
        with pytest.raises(Unauthenticated):
            await verifier.verify(rs(claims(), NEXT_RSA_KEY, f"../../{number}"))
    assert issuer.asked == 2


async def test_removed_key_ends_remembered_tokens_at_the_next_refresh() -> None:
    verifier, clock, issuer = with_issuer()
    token = rs(claims(exp=NOW_S + 10_000))
    await verifier.verify(token)
    del issuer.keys["one"]
    clock.at_s += 301
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


@pytest.mark.parametrize("fault", ["is_down", "is_hanging"])
async def test_an_issuer_that_does_not_answer_speaks_for_nobody_and_is_asked_seldom(
    monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(key_sets, "FETCH_TIMEOUT_S", 0.05)
    verifier, clock, issuer = with_issuer()
    setattr(issuer, fault, True)
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await verifier.verify(rs(claims()))
    assert issuer.asked == 1
    setattr(issuer, fault, False)
    clock.at_s += 11
    assert (await verifier.verify(rs(claims()))).id == "ann"


async def test_the_old_key_of_a_rotation_serves_as_long_as_it_is_published() -> None:
    verifier, clock, issuer = with_issuer()
    old = rs(claims(exp=NOW_S + 10_000))
    await verifier.verify(old)
    issuer.keys["two"] = NEXT_RSA_KEY
    clock.at_s += 301
    following = rs(claims(exp=NOW_S + 10_000), NEXT_RSA_KEY, "two")
    assert [(await verifier.verify(token)).id for token in (old, following)] == ["ann", "ann"]
    assert issuer.asked == 2


async def test_a_key_id_of_another_key_is_of_no_use() -> None:
    verifier, _, issuer = with_issuer()
    issuer.keys["two"] = NEXT_RSA_KEY
    for key, kid in ((NEXT_RSA_KEY, "one"), (RSA_KEY, "two"), (RSA_KEY, "curve"), (EC_KEY, "one")):
        with pytest.raises(Unauthenticated):
            await verifier.verify(rs(claims(), key, kid))
    for header in ({"kid": None}, {"kid": ["one"]}, {"kid": {"one": 1}}, {}):
        with pytest.raises(Unauthenticated):
            await verifier.verify(forged({"alg": "RS256", **header}, b"{}", b"x"))


@pytest.mark.parametrize(
    "odd",
    [
        {"kty": "EC", "kid": "odd", "crv": "P-1", "x": "AA", "y": "AA"},
        {"kty": "RSA", "kid": "odd"},
        {"kty": "OKP", "kid": "odd", "crv": "X448", "x": "AA"},
        {"kty": "oct", "kid": "odd", "k": "AA"},
        {"kid": "odd"},
    ],
)
async def test_a_key_that_cannot_be_used_does_not_take_the_others_away(odd: dict[str, Any]) -> None:
    verifier, _, issuer = with_issuer()
    issuer.more = [odd]
    assert (await verifier.verify(rs(claims()))).id == "ann"


@pytest.mark.parametrize("more", [{"jwks_url": "https://id"}, {"issuer": "x", "discovery": True}])
def test_an_issuer_with_keys_needs_an_audience(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="AUDIENCE is required"):
        AuthSettings(**more)
    assert AuthSettings(**more, audience="oql").has_keys


async def test_known_keys_serve_while_the_issuer_is_down() -> None:
    verifier, clock, issuer = with_issuer()
    token = rs(claims(exp=NOW_S + 10_000))
    await verifier.verify(token)
    issuer.is_down = True
    clock.at_s += 301
    assert (await verifier.verify(token)).id == "ann"
    assert issuer.asked == 2
