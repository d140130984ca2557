"""The cluster's own signing keys: Ed25519, kept in the store, replaced as they grow old.

A key is published for a while before it signs, so that every gateway knows it, and kept until
nothing that it signed is accepted any more. So keys change without anybody noticing.
"""

from __future__ import annotations

import base64
from contextlib import suppress
from typing import Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from objectql.clock import Clock
from objectql.drivers.identity import Delete, IdentityStore, Insert, SigningKey
from objectql.errors import Internal, UniqueViolation
from objectql.kernel.identity.policy import IdentityPolicy

ISSUER: Final = "objectql"
ALGORITHM: Final = "EdDSA"
_KEYS: Final = 32
_REREAD_S: Final = 10.0
_DAY_MS: Final = 86_400_000


class Signer:
    """Signs access tokens, and tells the public keys."""

    def __init__(self, store: IdentityStore, policy: IdentityPolicy, clock: Clock) -> None:
        self._store = store
        self._policy = policy
        self._clock = clock
        self._keys: tuple[SigningKey, ...] = ()
        self._read_s: float | None = None
        self._public = b'{"keys":[]}'

    async def sign(self, claims: dict[str, Any]) -> str:
        """A JWT with `claims`."""
        now_ms = self._clock.now_ms()
        await self._refresh()
        key = self._signing(now_ms)
        if key is None or self._is_old(self._keys[-1], now_ms):
            await self._add(now_ms)
            key = self._signing(now_ms)
        if key is None:  # a clock that stands long before everybody else's
            raise Internal
        private = Ed25519PrivateKey.from_private_bytes(key.private)
        return jwt.encode(
            {"iss": ISSUER, **claims}, private, algorithm=ALGORITHM, headers={"kid": key.id}
        )

    async def public_keys(self) -> bytes:
        """A JWK set with every key whose signatures count."""
        await self._refresh()
        return self._public

    def _signing(self, now_ms: int) -> SigningKey | None:
        ready = [key for key in self._keys if key.signs_from_ms <= now_ms]
        return ready[-1] if ready else None

    def _is_old(self, newest: SigningKey, now_ms: int) -> bool:
        return now_ms - newest.signs_from_ms > self._policy.signing_key_days * _DAY_MS

    async def _refresh(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._read_s is None or now_s - self._read_s >= _REREAD_S or not self._keys:
            await self._read()

    async def _read(self) -> None:
        found = await self._store.find(SigningKey, {"tenant": ""}, limit=_KEYS)
        self._keys = tuple(sorted(found, key=lambda key: key.created_ms))
        self._public = msgspec.json.encode({"keys": [_public_jwk(key) for key in self._keys]})
        self._read_s = self._clock.monotonic_s()

    async def _add(self, now_ms: int) -> None:
        """One more key, numbered, so that of several kernels only one adds it; the oldest go."""
        number = 1 + max((int(key.id.partition("-")[2]) for key in self._keys), default=0)
        is_first = self._signing(now_ms) is None
        private = Ed25519PrivateKey.generate().private_bytes_raw()
        wait_ms = 0 if is_first else int(self._policy.publish_key_s * 1000)
        made = SigningKey(
            tenant="",
            id=f"oql-{number:06}",
            private=private,
            created_ms=now_ms,
            signs_from_ms=now_ms + wait_ms,
        )
        old = [Delete(key) for key in self._keys[:-1] if self._is_spent(key, now_ms)]
        with suppress(UniqueViolation):  # another kernel was faster, and its key is as good
            await self._store.apply([Insert(made), *old])
        await self._read()

    def _is_spent(self, key: SigningKey, now_ms: int) -> bool:
        """Whether a key that has long been replaced has nothing left that it signed."""
        newer = min(k.signs_from_ms for k in self._keys if k.created_ms > key.created_ms)
        return now_ms - newer > (self._policy.access_s + 3600) * 1000


def _public_jwk(key: SigningKey) -> dict[str, str]:
    public = Ed25519PrivateKey.from_private_bytes(key.private).public_key().public_bytes_raw()
    x = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "alg": ALGORITHM, "use": "sig", "kid": key.id, "x": x}
