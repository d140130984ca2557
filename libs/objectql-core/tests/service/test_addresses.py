"""Whose address a request is taken to come from."""

from __future__ import annotations

import pytest

from objectql.service.addresses import UNKNOWN, Proxies, site_of

OURS = ("10.0.0.0/8", "2001:db8::/32")


def client(peer: str | None, *forwarded: str, proxies: tuple[str, ...] = OURS) -> str:
    return Proxies(proxies).client(peer or "", ", ".join(forwarded))


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


def test_a_proxy_that_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"proxy\.example\.org"):
        Proxies(("10.0.0.0/8", "proxy.example.org"))


def test_who_speaks_for_others_is_known() -> None:
    proxies = Proxies(OURS)
    assert [proxies.is_proxy(peer) for peer in ("10.0.0.1", "203.0.113.7", "")] == [
        True,
        False,
        False,
    ]
