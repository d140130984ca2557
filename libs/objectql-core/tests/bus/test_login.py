"""A process shows NATS who it is, and tells nothing to a server that is not the one it trusts."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.certificates import Authority

from objectql.bus.nats import Login, NatsBus
from objectql.bus.nats.login import discard

StartServer = Callable[[dict[str, Any]], str]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts a NATS server with a configuration; the address without scheme."""
    running: list[subprocess.Popen[bytes]] = []

    def start(configuration: dict[str, Any]) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        (tmp_path / "nats.conf").write_text(json.dumps(configuration))
        binary = shutil.which("nats-server", path=str(Path(sys.executable).parent))
        assert binary is not None
        command = [binary, "-a", "127.0.0.1", "-p", str(port), "-c", str(tmp_path / "nats.conf")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        running.append(process)
        end_s = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return f"127.0.0.1:{port}"
            assert process.poll() is None, "nats-server did not start"
            assert time.monotonic() < end_s, "nats-server did not start"

    yield start
    for process in running:
        process.kill()
        process.wait()


async def gets_in(login: Login) -> bool:
    """Whether one attempt to connect succeeds."""
    client = login.client()
    try:
        await client.connect(
            **login.options(), allow_reconnect=False, max_reconnect_attempts=1, error_cb=_ignore
        )
    except (OSError, nats.errors.Error):
        return False
    finally:
        await discard(client)
    return True


async def _ignore(_: Exception) -> None: ...


@pytest.mark.servers
async def test_user_and_password_count_from_the_address_and_from_settings(
    start_server: StartServer,
) -> None:
    users = [{"user": "kernel", "password": "sesame/open"}]
    address = start_server({"authorization": {"users": users}})
    url = f"nats://{address}"
    assert await gets_in(Login(servers=url, user="kernel", password="sesame/open"))
    assert not await gets_in(Login(servers=url, user="kernel", password="closed"))
    assert not await gets_in(Login(servers=url))
    users[0]["password"] = "sesame"
    address = start_server({"authorization": {"users": users}})
    assert await gets_in(Login(servers=f"nats://kernel:sesame@{address}"))
    assert not await gets_in(Login(servers=f"nats://kernel:closed@{address}"))


@pytest.mark.servers
async def test_tls_needs_the_authority_we_trust_and_the_certificate_the_server_asks_for(
    start_server: StartServer, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    server, ours = authority.issue("server"), authority.issue("kernel")
    tls: dict[str, Any] = {"cert_file": str(server.certificate), "key_file": str(server.key)}
    address = start_server({"tls": tls})
    trusting = Login(servers=f"nats://{address}", ca=str(authority.ca))
    assert await gets_in(trusting)
    assert not await gets_in(Login(servers=f"tls://{address}"))  # the system's authorities
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    assert not await gets_in(Login(servers=f"nats://{address}", ca=str(other.ca)))

    address = start_server({"tls": tls | {"ca_file": str(authority.ca), "verify": True}})
    assert not await gets_in(Login(servers=f"nats://{address}", ca=str(authority.ca)))
    known = Login(
        servers=f"tls://{address}",
        ca=str(authority.ca),
        certificate=str(ours.certificate),
        key=str(ours.key),
    )
    assert await gets_in(known)
    bus = await NatsBus.connect(known, name="known")
    assert bus.is_connected
    await bus.close()


async def test_a_server_without_encryption_is_told_nothing_where_it_is_required(
    tmp_path: Path,
) -> None:
    """Also one that merely pretends to have none: the greeting itself is not encrypted."""
    heard: list[bytes] = []
    done = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_id": "x", "version": "2.15.0", "max_payload": 1048576, "headers": True}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        await writer.drain()
        heard.append(await reader.read())
        writer.close()
        done.set()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    login = Login(
        servers=f"nats://127.0.0.1:{port}",
        user="kernel",
        password="secret",
        ca=str(Authority(tmp_path).ca),
    )
    assert not await gets_in(login)
    await asyncio.wait_for(done.wait(), 10)
    assert heard == [b""]
    server.close()
    await server.wait_closed()


# --- credentials files -----------------------------------------------------------------------

KINDS = {"O": 14 << 3, "A": 0, "U": 20 << 3}


class Nkey:
    """A key of NATS: an operator's, an account's or a user's."""

    def __init__(self, kind: str) -> None:
        self._key = Ed25519PrivateKey.generate()
        kind_byte = KINDS[kind]
        self.public = _encoded(bytes([kind_byte]) + self._key.public_key().public_bytes_raw())
        prefix = bytes([(18 << 3) | (kind_byte >> 5), (kind_byte & 31) << 3])
        self.seed = _encoded(prefix + self._key.private_bytes_raw())

    def token(self, of: Nkey, name: str, claims: dict[str, Any]) -> str:
        """A JWT about `of`, signed by this key."""
        parts = [
            {"typ": "JWT", "alg": "ed25519-nkey"},
            {
                "jti": "1",
                "iat": 1700000000,
                "iss": self.public,
                "name": name,
                "sub": of.public,
                "nats": claims | {"version": 2},
            },
        ]
        text = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        return f"{text}.{_base64(self._key.sign(text.encode()))}"


def _encoded(raw: bytes) -> str:
    checked = raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    return base64.b32encode(checked).decode().rstrip("=")


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def credentials_file(path: Path, token: str, seed: str) -> Login:
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    return Login(servers="nats://nowhere", credentials=str(path))


@pytest.mark.servers
async def test_a_credentials_file_logs_in_and_a_strangers_does_not(
    start_server: StartServer, tmp_path: Path
) -> None:
    operator, account, user, stranger = Nkey("O"), Nkey("A"), Nkey("U"), Nkey("U")
    limits = {"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1}
    limits |= {"exports": -1, "wildcards": True}
    told: dict[str, Any] = {
        "type": "account",
        "limits": limits,
        "default_permissions": {"pub": {}, "sub": {}},
    }
    configuration = {
        "operator": operator.token(operator, "operator", {"type": "operator"}),
        "resolver": "MEMORY",
        "resolver_preload": {account.public: operator.token(account, "account", told)},
    }
    address = start_server(configuration)
    claims: dict[str, Any] = {
        "type": "user",
        "subs": -1,
        "data": -1,
        "payload": -1,
        "pub": {},
        "sub": {},
    }
    token = account.token(user, "kernel", claims)
    for seed, expected in ((user.seed, True), (stranger.seed, False)):
        path = tmp_path / "kernel.creds"
        credentials_file(path, token, seed)
        login = Login(servers=f"nats://{address}", credentials=str(path))
        assert await gets_in(login) == expected


def test_a_damaged_credentials_file_is_refused(tmp_path: Path) -> None:
    seed = Nkey("U").seed
    damaged = seed[:20] + ("A" if seed[20] != "A" else "B") + seed[21:]
    for text in (damaged, seed[:20], "not base 32"):
        login = credentials_file(tmp_path / "x.creds", "token", text)
        with pytest.raises(nats.errors.InvalidUserCredentialsError):
            login.options()
