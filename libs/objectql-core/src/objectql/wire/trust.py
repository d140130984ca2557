"""Signatures on the context of a request: only who holds a key can say who asks.

A gateway signs what it put into the headers, together with the subject and the body; a service
that holds the same key believes nothing else. So whoever gets a message onto the bus without a key
can neither name a tenant or actor, nor put a signature that was recorded on another request.

The signature is keyed BLAKE2b (RFC 7693, section 2.9: a message authentication code by itself) of
16 bytes over the msgpack of subject and headers, which ends where it ends, followed by the body.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

import msgspec

from objectql.errors import CallerUntrusted
from objectql.wire.headers import CONTEXT

SIGNATURE = "Oql-Signature"
MIN_KEY_CHARACTERS = 32

_SIGNATURE_BYTES = 16
_PURPOSE = b"oql-context-v1"

_encode = msgspec.msgpack.Encoder().encode


class ContextKeys:
    """Keys that gateways and services share: the first signs, all are accepted.

    To replace a key without a pause, add the new one behind the old one everywhere, then swap them,
    then take the old one away.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys or any(len(key) < MIN_KEY_CHARACTERS for key in keys):
            raise ValueError(f"a key needs at least {MIN_KEY_CHARACTERS} characters")
        self._begun = [
            hashlib.blake2b(
                key=hashlib.blake2b(key.encode()).digest(),
                digest_size=_SIGNATURE_BYTES,
                person=_PURPOSE,
            )
            for key in keys
        ]

    def sign(self, subject: str, headers: Mapping[str, str], body: bytes) -> str:
        """The value of the header `SIGNATURE` for this request."""
        return self._signature(0, _signed(subject, headers), body)

    def check(self, subject: str, headers: Mapping[str, str], body: bytes) -> None:
        """Return if one of the keys has signed this request.

        Raises:
            CallerUntrusted: it is not signed, or by no key of ours, or something was changed.

        """
        given = headers.get(SIGNATURE)
        if given is None:
            raise CallerUntrusted
        try:
            told, signed = given.encode(), _signed(subject, headers)
        except UnicodeEncodeError as exc:  # what NATS headers hold need not be text
            raise CallerUntrusted from exc
        for number in range(len(self._begun)):
            if hmac.compare_digest(told, self._signature(number, signed, body).encode()):
                return
        raise CallerUntrusted

    def _signature(self, number: int, signed: bytes, body: bytes) -> str:
        hashed = self._begun[number].copy()
        hashed.update(signed)
        hashed.update(body)
        return hashed.hexdigest()


def _signed(subject: str, headers: Mapping[str, str]) -> bytes:
    return _encode([subject, *map(headers.get, CONTEXT)])
