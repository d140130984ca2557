"""Where a request comes from is what the connection says, and what trusted proxies vouch for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql_gateway_rest.asgi import Request
from objectql_gateway_rest.origins import Origins, agent_class
from objectql_gateway_rest.settings import ListenSettings


async def no_body() -> Any:
    raise AssertionError


def request(peer: str | None, *heard: str, agent: str = "") -> Request:
    headers = [(b"x-forwarded-for", text.encode()) for text in heard]
    if agent:
        headers.append((b"user-agent", agent.encode()))
    scope = {
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": headers,
        "client": None if peer is None else (peer, 1),
    }
    return Request(scope, no_body)


def test_nobody_is_believed_about_another_address_unless_trusted() -> None:
    assert Origins().of(request("198.51.100.1", "203.0.113.7")) == "none 198.51.100.1"
    trusting = Origins(["10.0.0.0/8"])
    assert trusting.address(request("198.51.100.1", "203.0.113.7")) == "198.51.100.1"
    assert trusting.address(request("10.1.1.1", "203.0.113.7")) == "203.0.113.7"


@pytest.mark.parametrize(
    ("heard", "address"),
    [
        (["203.0.113.7"], "203.0.113.7"),
        (["6.6.6.6, 203.0.113.7"], "203.0.113.7"),
        (["6.6.6.6", "203.0.113.7, 10.2.2.2"], "203.0.113.7"),
        (["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        (["6.6.6.6, nonsense, 10.2.2.2"], "10.2.2.2"),
        (["2001:db8::1, 10.2.2.2"], "2001:db8::1"),
        ([""], "10.1.1.1"),
        ([], "10.1.1.1"),
    ],
)
def test_the_last_address_that_is_no_proxy_counts(heard: list[str], address: str) -> None:
    assert Origins(["10.0.0.0/8"]).address(request("10.1.1.1", *heard)) == address


@given(st.text(alphabet="0123456789.:, abx\"'<>", max_size=40))
def test_what_a_caller_makes_up_never_counts(made_up: str) -> None:
    told = request("10.1.1.1", f"{made_up}, 203.0.113.7, 10.2.2.2")
    assert Origins(["10.0.0.0/8"]).address(told) == "203.0.113.7"


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux) Firefox/140.0", "browser"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1)", "bot"),
        ("curl/8.5.0", "command"),
        ("python-httpx/0.28", "program"),
        ("", "none"),
        ("\x00weird", "program"),
    ],
)
def test_programs_have_classes(agent: str, name: str) -> None:
    assert agent_class(agent) == name


def test_a_connection_without_an_address_is_unknown() -> None:
    assert Origins().of(request(None, agent="curl/8")) == "command unknown"


def test_what_is_no_network_does_not_start_a_gateway() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        ListenSettings(trusted_proxies=("10.0.0.256/8",))


async def test_every_request_carries_where_it_came_from(client: Any, kernel: Any) -> None:
    await client.get("/api/task/1", headers={"user-agent": "curl/8"})
    assert kernel.last[2].origin == "command 127.0.0.1"
