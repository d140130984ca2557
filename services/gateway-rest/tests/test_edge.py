"""What stands before the routes: hosts, origins, methods in disguise, broken and slow HTTP, TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.certificates import Authority

from objectql.service.settings import SettingsInvalid, load_settings
from objectql_gateway_rest.application import create_application
from objectql_gateway_rest.cors import Cors
from objectql_gateway_rest.server import HttpServer
from objectql_gateway_rest.settings import CorsSettings, GatewayRestSettings, ListenSettings

TOKEN = {"Authorization": "Bearer ann"}
APP = "https://app.example.org"


def asgi(services: Any, **options: Any) -> httpx.AsyncClient:
    application = create_application(services, **options)
    transport = httpx.ASGITransport(app=application)  # pyright: ignore[reportArgumentType]
    return httpx.AsyncClient(transport=transport, base_url="http://api.example.org", headers=TOKEN)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("api.example.org", 200),
        ("API.example.org:8080", 200),
        ("[::1]:8080", 200),
        ("evil.example.org", 400),
        ("api.example.org.evil.org", 400),
        ("api.example.org, evil.org", 400),
        ("api.example.org:80:80", 400),
        ("", 400),
    ],
)
async def test_only_the_hosts_that_are_set_are_served(
    services: Any, host: str, status: int
) -> None:
    async with asgi(services, hosts=("api.example.org", "[::1]")) as http:
        answer = await http.get("/api/task/1", headers={"Host": host})
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
async def test_a_method_in_disguise_is_refused(services: Any, kernel: Any, name: str) -> None:
    async with asgi(services) as http:
        answer = await http.post("/api/task", json={}, headers={name: "DELETE"})
    assert answer.status_code == 400
    assert not kernel.count


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "gzip, identity"])
async def test_a_compressed_body_is_refused_unread(services: Any, kernel: Any, coding: str) -> None:
    async with asgi(services) as http:
        headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
        answer = await http.post("/api/task", content=b"\x1f\x8b", headers=headers)
    assert answer.status_code == 415
    assert not kernel.count


# --- other origins ---------------------------------------------------------------------------


async def test_without_origins_no_page_may_call(services: Any) -> None:
    async with asgi(services) as http:
        answer = await http.get("/api/task/1", headers={"Origin": APP})
        asked = await http.options(
            "/api/task/1", headers={"Origin": APP, "Access-Control-Request-Method": "DELETE"}
        )
    for response in (answer, asked):
        assert not [name for name in response.headers if name.startswith("access-control-")]


async def test_an_origin_that_is_set_may_call_and_no_other(services: Any, kernel: Any) -> None:
    cors = Cors(CorsSettings(origins=(APP,), credentials=True))
    preflight = {"Access-Control-Request-Method": "DELETE"}
    async with asgi(services, cors=cors) as http:
        for origin, may in (
            (APP, True),
            ("https://app.example.org.evil.org", False),
            ("null", False),
        ):
            asked = await http.options("/api/x/y", headers={"Origin": origin, **preflight})
            answer = await http.get("/api/task/1", headers={"Origin": origin})
            failed = await http.get("/api/nothing/here/at/all", headers={"Origin": origin})
            assert asked.status_code == 204
            assert ("access-control-allow-methods" in asked.headers) == may
            for response in (asked, answer, failed):
                given = response.headers.get("access-control-allow-origin")
                assert given == (origin if may else None)
                assert ("access-control-allow-credentials" in response.headers) == may
                assert "Origin" in response.headers["vary"]


async def test_every_page_may_call_only_without_cookies(services: Any) -> None:
    async with asgi(services, cors=Cors(CorsSettings(origins=("*",)))) as http:
        answer = await http.get("/api/task/1", headers={"Origin": "https://any.example.org"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers
    environ = {"OQL_GATEWAY_REST_CORS__ORIGINS": "*", "OQL_GATEWAY_REST_CORS__CREDENTIALS": "true"}
    with pytest.raises(SettingsInvalid, match="name the origins"):
        load_settings(GatewayRestSettings, GatewayRestSettings.prefix(), environ)


# --- on a socket -----------------------------------------------------------------------------


@asynccontextmanager
async def serving(services: Any, **listen: Any) -> AsyncGenerator[HttpServer]:
    made = HttpServer(create_application(services), ListenSettings(port=0, **listen), drain_s=2)
    running = asyncio.create_task(made.run())
    async with asyncio.timeout(30):
        await made.wait_listening()
    yield made
    await made.stop()
    await running


async def say(server: HttpServer, request: bytes) -> bytes:
    """Everything that is answered until the server hangs up, or stays silent for a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    answer = b""
    with suppress(TimeoutError, ConnectionError):
        while part := await asyncio.wait_for(reader.read(65_536), 2):
            answer += part
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return answer


HEAD = b"Host: x\r\nAuthorization: Bearer ann\r\nContent-Type: application/json\r\n"
HIDDEN = b"GET /api/task/hidden HTTP/1.1\r\nHost: x\r\n\r\n"
SMUGGLED = {
    "length and chunks": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 40\r\n\r\n",
    "the same length twice": b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": b"Content-Length: 0, 40\r\n\r\n",
    "a signed length": b"Content-Length: +0\r\n\r\n",
    "a length in hexadecimal": b"Content-Length: 0x0\r\n\r\n",
    "another coding": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunks inside of another coding": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "a folded header": b"X-A: 1\r\n Content-Length: 40\r\n\r\n",
    "a space before the colon": b"Content-Length : 0\r\n\r\n",
    "a bare line feed": b"X-A: 1\nContent-Length: 0\r\n\r\n",
    "a bare carriage return": b"X-A: 1\rContent-Length: 40\r\n\r\n",
    "a NUL in a header": b"X-A: 1\x00\r\n\r\n",
    "a line feed in a chunk size": b"Transfer-Encoding: chunked\r\n\r\n0\n\r\n",
    "a negative chunk": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    "a huge chunk": b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n\r\n",
}


@pytest.mark.servers
@pytest.mark.parametrize("trick", SMUGGLED, ids=lambda trick: trick.replace(" ", "-"))
async def test_where_a_request_ends_is_never_in_doubt(
    services: Any, kernel: Any, trick: str
) -> None:
    """What two servers could read differently is refused, and nothing after it is a request."""
    async with serving(services) as server:
        answer = await say(server, b"POST /api/task HTTP/1.1\r\n" + HEAD + SMUGGLED[trick] + HIDDEN)
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert not kernel.count


@pytest.mark.servers
async def test_chunk_extensions_are_read_past(services: Any) -> None:
    chunked = b"Transfer-Encoding: chunked\r\n\r\n2;name=value\r\n{}\r\n0\r\n\r\n"
    async with serving(services) as server:
        answer = await say(server, b"POST /api/task HTTP/1.1\r\n" + HEAD + chunked)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 201 "), answer


@pytest.mark.servers
async def test_a_head_is_bounded_in_number_and_length(services: Any, kernel: Any) -> None:
    start = b"GET /api/task/1 HTTP/1.1\r\n" + HEAD
    async with serving(services) as server:
        many = await say(server, start + b"A: b\r\n" * 200 + b"\r\n")
        endless = await say(server, start + b"A: " + b"b" * 1_000_000)
    for answer in (many, endless):
        assert answer.startswith(b"HTTP/1.1 431 "), answer[:200]
    assert not kernel.count


@pytest.mark.servers
@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"GET /api/ta",
        b"GET /api/task/1 HTTP/1.1\r\nHost: x\r\nA: ",
        b"POST /api/task HTTP/1.1\r\n" + HEAD + b"Content-Length: 100\r\n\r\n{",
    ],
)
async def test_who_never_ends_a_request_is_hung_up_on(
    services: Any, kernel: Any, part: bytes
) -> None:
    async with serving(services, head_timeout_s=0.2, body_timeout_s=0.2) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(part)
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert not kernel.count


@pytest.mark.servers
async def test_a_byte_now_and_then_buys_no_time(services: Any) -> None:
    async with serving(services, head_timeout_s=0.3) as server, asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /api/task/1 HTTP/1.1\r\nA: ")
        answer = asyncio.ensure_future(reader.read())
        while not answer.done():
            with suppress(ConnectionError):
                writer.write(b"b")
            await asyncio.wait({answer}, timeout=0.05)
        assert answer.result().startswith(b"HTTP/1.1 408 ")
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.servers
async def test_every_answer_tells_browsers_to_be_careful(services: Any) -> None:
    async with serving(services) as server:
        for request in (b"GET /api/task/1 HTTP/1.1\r\n" + HEAD + b"\r\n", b"nonsense\r\n\r\n"):
            head = await say(server, request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            for line in (
                b"x-content-type-options: nosniff",
                b"referrer-policy: no-referrer",
                b"content-security-policy: frame-ancestors 'none'",
            ):
                assert line in head, request
            assert b"strict-transport-security" not in head


@pytest.mark.servers
async def test_https_with_our_certificate(services: Any, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ours = authority.issue("gateway")
    listen = {"certificate": str(ours.certificate), "key": str(ours.key)}
    async with serving(services, **listen) as server:
        trusting = ssl.create_default_context(cafile=str(authority.ca))
        url = f"https://localhost:{server.port}"
        async with httpx.AsyncClient(base_url=url, verify=trusting, headers=TOKEN) as http:
            answer = await http.get("/api/task/1")
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert not (await say(server, b"GET /api/task/1 HTTP/1.1\r\n" + HEAD + b"\r\n"))
        old = ssl.create_default_context(cafile=str(authority.ca))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx.ConnectError):
            async with httpx.AsyncClient(base_url=url, verify=old) as http:
                await http.get("/api/task/1")


def test_a_proxy_that_is_no_network_stops_the_start() -> None:
    environ = {"OQL_GATEWAY_REST_HTTP__TRUSTED_PROXIES": "10.0.0.0/8,proxy.example.org"}
    with pytest.raises(SettingsInvalid, match=r"proxy\.example\.org"):
        load_settings(GatewayRestSettings, "OQL_GATEWAY_REST", environ)
