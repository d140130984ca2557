"""Sessions in cookies: given and taken as browsers need it, and of no use to pages of others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http.cookies import Morsel, SimpleCookie
from typing import Any

import httpx
import msgspec
import pytest

from objectql_gateway_rest.application import create_application
from objectql_gateway_rest.cookies import ACCESS, HEADER, REFRESH, Cookies
from objectql_gateway_rest.cors import Cors
from objectql_gateway_rest.settings import CookieSettings, CorsSettings

APP = "https://app.example.org"
OURS = {HEADER: "1", "sec-fetch-site": "same-origin"}
SIGNED_IN = {"cookie": f"theme=dark; {ACCESS}=ann; {REFRESH}=r1"}
CREDENTIALS = {"name": "ann", "password": "x", "cookie": True}


def browser(services: Any, *, is_on: bool = True, **options: Any) -> httpx.AsyncClient:
    cookies = Cookies(CookieSettings(enabled=is_on), [APP])
    application = create_application(msgspec.structs.replace(services, cookies=cookies), **options)
    transport = httpx.ASGITransport(app=application)  # pyright: ignore[reportArgumentType]
    return httpx.AsyncClient(transport=transport, base_url="https://api.example.org")


@pytest.fixture
async def http(services: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(services) as made:
        yield made


def given(answer: httpx.Response) -> dict[str, Morsel[str]]:
    found: SimpleCookie = SimpleCookie()
    for text in answer.headers.get_list("set-cookie"):
        found.load(text)
    return dict(found)


async def test_a_sign_in_gives_cookies_that_no_script_and_no_other_host_gets(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.post("/api/auth/sign-in", json=CREDENTIALS, headers=OURS)
    assert answer.json() == {"expires_in": 600, "user": {"id": "ann"}}
    assert answer.headers["cache-control"] == "no-store"
    cookies = given(answer)
    assert {name: cookie.value for name, cookie in cookies.items()} == {
        ACCESS: "ann",
        REFRESH: "r1",
    }
    for cookie in cookies.values():
        assert (cookie["secure"], cookie["httponly"], cookie["domain"]) == (True, True, "")
        assert cookie["samesite"] == "Strict"
    assert (cookies[ACCESS]["path"], cookies[ACCESS]["max-age"]) == ("/", "600")
    assert cookies[REFRESH]["path"] == "/api/auth"
    assert 86_000 < int(cookies[REFRESH]["max-age"]) <= 86_400


async def test_who_asks_for_no_cookie_gets_tokens_and_no_cookie(http: httpx.AsyncClient) -> None:
    answer = await http.post("/api/auth/sign-in", json={"name": "ann", "password": "x"})
    assert answer.json()["refresh_token"] == "r1"
    assert not given(answer)


async def test_a_cookie_reads_without_further_proof_and_its_answer_is_private(
    http: httpx.AsyncClient, kernel: Any
) -> None:
    answer = await http.get("/api/task/1", headers=SIGNED_IN)
    assert answer.status_code == 200
    assert kernel.last[2].actor.id == "ann"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert (await http.head("/api/task/1", headers=SIGNED_IN)).status_code == 200


CROSS_SITE: dict[str, dict[str, str]] = {
    "a form of another site": {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
    "a script of another site": {**OURS, "sec-fetch-site": "cross-site"},
    "a page of a sister domain": {**OURS, "sec-fetch-site": "same-site"},
    "an address that was typed": {**OURS, "sec-fetch-site": "none"},
    "another origin, from an old browser": {HEADER: "1", "origin": "https://evil.example"},
    "another port": {HEADER: "1", "origin": "https://api.example.org:8443"},
    "a frame without origin": {HEADER: "1", "origin": "null"},
    "a host that begins like ours": {HEADER: "1", "origin": "https://api.example.org.evil.example"},
    "nothing": {},
    "the header alone": {HEADER: "1"},
    "ours without the header": {
        "sec-fetch-site": "same-origin",
        "origin": "https://api.example.org",
    },
    "an origin that is set without the header": {"origin": APP},
    "ours by name, not by what the browser says": {
        HEADER: "1",
        "sec-fetch-site": "cross-site",
        "origin": "https://api.example.org",
    },
}


@pytest.mark.parametrize("which", CROSS_SITE)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/task"),
        ("PATCH", "/api/task/1"),
        ("PUT", "/api/task/1"),
        ("DELETE", "/api/task/1"),
        ("POST", "/api/task/query"),
        ("POST", "/api/auth/sign-out"),
        ("POST", "/api/auth/refresh"),
    ],
)
async def test_a_page_of_another_site_changes_nothing_with_a_cookie(
    http: httpx.AsyncClient, kernel: Any, which: str, method: str, path: str
) -> None:
    headers = {**SIGNED_IN, **CROSS_SITE[which]}
    answer = await http.request(method, path, json={}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "CROSS_SITE_REQUEST")
    assert not kernel.count
    assert not given(answer)


@pytest.mark.parametrize("which", CROSS_SITE)
async def test_nobody_is_signed_in_by_a_page_of_another_site(
    http: httpx.AsyncClient, kernel: Any, which: str
) -> None:
    answer = await http.post("/api/auth/sign-in", json=CREDENTIALS, headers=CROSS_SITE[which])
    assert answer.status_code == 403
    assert not kernel.count


@pytest.mark.parametrize(
    "proof",
    [
        OURS,
        {HEADER: "1", "origin": "https://api.example.org"},
        {HEADER: "1", "origin": APP, "sec-fetch-site": "cross-site"},
    ],
)
async def test_our_pages_change_what_they_may(
    http: httpx.AsyncClient, kernel: Any, proof: dict[str, str]
) -> None:
    answer = await http.post("/api/task", json={}, headers={**SIGNED_IN, **proof})
    assert answer.status_code == 201, answer.text
    assert kernel.last[0] == "create"


async def test_a_refresh_by_cookie_gives_new_cookies_and_tells_no_token(
    http: httpx.AsyncClient, kernel: Any
) -> None:
    answer = await http.post("/api/auth/refresh", headers={**SIGNED_IN, **OURS})
    assert kernel.last[1].refresh_token == "r1"
    assert given(answer)[REFRESH].value == "r2"
    assert "r2" not in answer.text


async def test_a_sign_out_takes_the_cookies_away(http: httpx.AsyncClient, kernel: Any) -> None:
    answer = await http.post("/api/auth/sign-out", headers={**SIGNED_IN, **OURS})
    assert (answer.status_code, kernel.last[0]) == (204, "auth_sign_out")
    cookies = given(answer)
    assert {cookie["max-age"] for cookie in cookies.values()} == {"0"}
    assert (cookies[ACCESS]["path"], cookies[REFRESH]["path"]) == ("/", "/api/auth")


async def test_a_token_in_a_header_needs_no_proof_and_wins(
    http: httpx.AsyncClient, kernel: Any
) -> None:
    headers = {**SIGNED_IN, "authorization": "Bearer bob"}
    assert (await http.post("/api/task", json={}, headers=headers)).status_code == 201
    assert kernel.last[2].actor.id == "bob"
    refused = await http.get("/api/task/1", headers={**SIGNED_IN, "authorization": "Basic eA=="})
    assert refused.status_code == 401


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        f"{ACCESS}=",
        f"{ACCESS}=bad",
        "oql-access=ann",
        f"{ACCESS}=ann; {ACCESS}=bob",
        f"{ACCESS.lower()}=ann",
        f"x{ACCESS}=ann",
    ],
)
async def test_what_is_no_cookie_of_ours_is_nobody(http: httpx.AsyncClient, cookie: str) -> None:
    answer = await http.get("/api/task/1", headers={"cookie": cookie})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


async def test_cookies_are_off_unless_they_are_switched_on(services: Any, kernel: Any) -> None:
    assert not CookieSettings().enabled
    async with browser(services, is_on=False) as http:
        assert (await http.get("/api/task/1", headers=SIGNED_IN)).status_code == 401
        begun = await http.post("/api/auth/sign-in", json=CREDENTIALS, headers=OURS)
        assert begun.status_code == 400
        assert (await http.post("/api/auth/refresh", headers=SIGNED_IN)).status_code == 401
        assert not kernel.count
        headers = {"authorization": "Bearer ann"}
        assert not given(await http.post("/api/auth/sign-out", headers=headers))


async def test_a_page_of_an_origin_that_is_set_may_send_cookies_and_the_header(
    services: Any,
) -> None:
    cors = Cors(CorsSettings(origins=(APP,), credentials=True))
    async with browser(services, cors=cors) as http:
        asked = {"origin": APP, "access-control-request-method": "POST"}
        leave = await http.options("/api/task", headers=asked)
        assert HEADER in leave.headers["access-control-allow-headers"]
        assert leave.headers["access-control-allow-credentials"] == "true"
        sent = {**SIGNED_IN, HEADER: "1", "origin": APP, "sec-fetch-site": "cross-site"}
        answer = await http.post("/api/task", json={}, headers=sent)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (201, APP)
