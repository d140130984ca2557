"""How a process proves to NATS who it is, and makes sure that it talks to NATS.

Files are read anew for every connection, so replaced certificates and credentials count from the
next one on.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import nats.errors  # noqa: TID251 - home of nats
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nats.aio.client import Client  # noqa: TID251

_PART = re.compile(rb"-+BEGIN ([A-Z ]+)-+\s+([A-Za-z0-9_.=-]+)\s+-+END")
_SEED_BYTES = 32
_CLOSED_WITHIN_S = 1.0


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are on which servers.

    `servers` are separated by commas and may carry user and password; `user` and `password` go
    before them. `credentials` is the path of a credentials file (a JWT and the seed of its key).
    `ca` is the path of the authorities that sign the servers' certificates, by default the
    system's; `certificate` and `key` are ours, where the servers ask for one. With `ca`, or where
    an address begins with `tls://`, nothing is sent over a connection that is not encrypted.
    """

    servers: str
    user: str | None = None
    password: str | None = None
    credentials: str | None = None
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None

    @property
    def is_encrypted(self) -> bool:
        """Whether a connection without TLS is refused."""
        return self.ca is not None or "tls://" in self.servers

    def client(self) -> Client:
        """A client that is not connected yet."""
        return _EncryptedClient() if self.is_encrypted else Client()

    def options(self) -> dict[str, Any]:
        """The arguments of `Client.connect`.

        Raises:
            OSError: a file cannot be read, or holds no certificate or key.
            nats.errors.InvalidUserCredentialsError: the credentials file is malformed.

        """
        options: dict[str, Any] = {
            "servers": [server.strip() for server in self.servers.split(",")],
            "user": self.user,
            "password": self.password,
        }
        if self.is_encrypted:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
            options["tls"] = context
        if self.credentials is not None:
            options |= _credentials(self.credentials)
        return options


class _EncryptedClient(Client):
    """Hangs up on a server that offers no encryption, before it has told it anything.

    nats-py encrypts where the server's greeting asks for it, and that greeting is not encrypted:
    without this, whoever sits between could ask for the password in the clear.
    """

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        if initial_connection and not info.get("tls_required"):
            raise nats.errors.SecureConnRequiredError
        await super()._process_info(info, initial_connection)


async def discard(client: Client) -> None:
    """Close a client that failed to connect; the wait for a handshake that failed never ends."""
    with suppress(OSError, nats.errors.Error):
        async with asyncio.timeout(_CLOSED_WITHIN_S):
            await client.close()


def _credentials(path: str) -> dict[str, Any]:
    """Callbacks that log in by a credentials file; nats-py's own need a library of native code."""
    parts = dict(_PART.findall(Path(path).read_bytes()))
    try:
        token, key = parts[b"NATS USER JWT"], _signing_key(parts[b"USER NKEY SEED"])
    except (KeyError, ValueError) as exc:
        raise nats.errors.InvalidUserCredentialsError from exc

    def sign(nonce: str) -> bytes:
        return base64.b64encode(key.sign(nonce.encode()))

    return {"user_jwt_cb": lambda: token, "signature_cb": sign}


def _signing_key(seed: bytes) -> Ed25519PrivateKey:
    """The key of an encoded seed: two bytes of kind, 32 of seed, a checksum.

    Source: github.com/nats-io/nkeys, `strkey.go`.
    """
    raw = base64.b32decode(seed + b"=" * (-len(seed) % 8))
    body, checksum = raw[:-2], int.from_bytes(raw[-2:], "little")
    if binascii.crc_hqx(body, 0) != checksum or len(body) != _SEED_BYTES + 2:
        raise ValueError("the seed is damaged")
    return Ed25519PrivateKey.from_private_bytes(body[2:])
