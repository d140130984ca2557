"""Whose address a request is taken to come from."""

from __future__ import annotations

from typing import Any

import pytest

from objectql.service.settings import SettingsInvalid, load_settings
from objectql_gateway_rest.addresses import UNKNOWN, Proxies, site_of
from objectql_gateway_rest.asgi import Request
from objectql_gateway_rest.settings import GatewayRestSettings

OURS = ("10.0.0.0/8", "2001:db8::/32")


def client(peer: str | None, *forwarded: str, proxies: tuple[str, ...] = OURS) -> str:
    scope: dict[str, Any] = {
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [(b"x-forwarded-for", text.encode()) for text in forwarded],
        "client": None if peer is None else (peer, 1234),
    }

    async def receive() -> Any: ...

    return Proxies(proxies).client(Request(scope, receive))


def test_nobody_is_believed_who_is_not_trusted() -> None:
    assert client("203.0.113.7", "198.51.100.1") == "203.0.113.7"
    assert client("10.0.0.1", "198.51.100.1", proxies=()) == "10.0.0.1"


def test_the_last_address_that_is_no_proxy_is_the_clients() -> None:
    assert client("10.0.0.1", "198.51.100.1") == "198.51.100.1"
    assert client("10.0.0.1", "198.51.100.1, 203.0.113.7, 10.9.9.9") == "203.0.113.7"
    assert client("10.0.0.1", "198.51.100.1", "203.0.113.7,10.9.9.9") == "203.0.113.7"
    assert client("10.0.0.1", "10.0.0.2") == "10.0.0.2"


def test_what_a_client_made_up_does_not_count() -> None:
    assert client("10.0.0.1", "nonsense, 1.2.3.4, 203.0.113.7") == "203.0.113.7"


def test_ports_and_forms_of_an_address_do_not_matter() -> None:
    assert client("10.0.0.1", "203.0.113.7:4711") == "203.0.113.7"
    assert client("2001:db8::1", "[2001:0DB9::0001]:443") == "2001:db9::1"
    assert client("::ffff:10.0.0.1", "::ffff:203.0.113.7") == "203.0.113.7"


def test_a_client_without_an_address_is_unknown() -> None:
    assert client(None) == UNKNOWN
    assert client("10.0.0.1", "198.51.100.1, not-an-address") == UNKNOWN


def test_a_site_has_an_ipv6_network_to_itself() -> None:
    assert site_of("2001:db9:0:1::1") == site_of("2001:db9:0:1:ffff::2")
    assert site_of("2001:db9:0:1::1") != site_of("2001:db9:0:2::1")
    assert site_of("203.0.113.7") == "203.0.113.7"
    assert site_of(UNKNOWN) == UNKNOWN


def test_a_proxy_that_is_no_network_stops_the_start() -> None:
    environ = {"OQL_GATEWAY_REST_HTTP__TRUSTED_PROXIES": "10.0.0.0/8,proxy.example.org"}
    with pytest.raises(SettingsInvalid, match=r"proxy\.example\.org"):
        load_settings(GatewayRestSettings, "OQL_GATEWAY_REST", environ)
