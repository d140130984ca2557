"""Signatures of webhooks, by the convention "Standard Webhooks".

A request carries `webhook-id` (the same whenever the same event is sent), `webhook-timestamp` (Unix
seconds of the attempt) and `webhook-signature`: `v1,` and the Base64 of an HMAC-SHA256 over
`id.timestamp.body`, several of them with blanks between while a secret is being replaced. A secret
is written `whsec_` and the Base64 of its bytes.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Final

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how secrets begin
MIN_SECRET_BYTES: Final = 24
MAX_SECRET_BYTES: Final = 64
"""Both by the convention."""

TOLERANCE_S: Final = 300
"""How old, or how far in the future, a request may be for its receiver."""

_VERSION: Final = "v1"


class SignatureRefused(ValueError):
    """The request was not signed with any of the secrets, or not lately."""


def secret_text(key: bytes) -> str:
    """The secret whose bytes are `key`."""
    return SECRET_PREFIX + b64encode(key).decode()


def secret_bytes(secret: str) -> bytes:
    """The bytes that a secret signs with.

    Raises:
        ValueError: it is not written as a secret is, or too short or too long.

    """
    try:
        key = b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError(f"a secret is written {SECRET_PREFIX} and Base64") from exc
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise ValueError(f"a secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes")
    return key


def sign(id_: str, timestamp_s: int, body: bytes, secrets: Iterable[str]) -> dict[str, str]:
    """The three headers of a request; one signature with each secret."""
    signatures = [_signature(id_, str(timestamp_s), body, secret) for secret in secrets]
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Iterable[str],
    *,
    now_s: float,
    tolerance_s: float = TOLERANCE_S,
) -> str:
    """The id of a request that was signed lately with one of `secrets`.

    `headers` has names in lower case; `body` is what was received, not what was decoded from it.
    Who keeps the ids that were handled drops repeats by them.

    Raises:
        SignatureRefused: it was not.

    """
    id_ = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "")
    if not (id_ and given and timestamp.isascii() and timestamp.isdecimal()):
        raise SignatureRefused("the headers of a webhook are missing")
    if len(timestamp) > 12 or abs(now_s - int(timestamp)) > tolerance_s:  # noqa: PLR2004 - digits
        raise SignatureRefused("the webhook is too old, or from the future")
    signatures = [one.encode() for one in given.split(" ")]
    for secret in secrets:
        wanted = _signature(id_, timestamp, body, secret).encode()
        if any(hmac.compare_digest(wanted, one) for one in signatures):
            return id_
    raise SignatureRefused("the webhook was signed by somebody else")


def _signature(id_: str, timestamp: str, body: bytes, secret: str) -> str:
    signed = f"{id_}.{timestamp}.".encode() + body
    mac = hmac.new(secret_bytes(secret), signed, hashlib.sha256)
    return f"{_VERSION},{b64encode(mac.digest()).decode()}"
