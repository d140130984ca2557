"""No form of an address that is not of the public internet is connected to."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.kernel.webhooks.addresses import (
    AddressRefused,
    Allowed,
    UrlRefused,
    choose,
    is_allowed,
    is_public,
    networks_of,
    parse_url,
)
from objectql.kernel.webhooks.sender import Sender
from objectql.testing.receivers import receiving

PRIVATE_V4 = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16"),
    *("100.64.0.0/10", "0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "198.18.0.0/15"),
    *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "192.0.0.0/24"),
)
PRIVATE_V6 = (
    *("::1/128", "::/128", "fe80::/10", "fc00::/7", "ff00::/8", "fec0::/10", "2001:db8::/32"),
    *("100::/64", "2002::/16", "2001::/32", "64:ff9b:1::/48", "5f00::/16", "::/96"),
)


def inside(networks: Sequence[str]) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    def member(text: str) -> st.SearchStrategy[IPv4Address | IPv6Address]:
        net = IPv6Network(text) if ":" in text else IPv4Network(text)
        first, last = int(net.network_address), int(net.broadcast_address)
        kind = type(net.network_address)
        return st.integers(first, last).map(kind)

    return st.sampled_from(networks).flatmap(member)


@given(inside(PRIVATE_V4) | inside(PRIVATE_V6))
def test_special_addresses_are_not_public(address: IPv4Address | IPv6Address) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_no_address_is_public_that_the_standard_library_calls_private(
    address: IPv4Address,
) -> None:
    if not address.is_global or address.is_multicast:
        assert not is_public(address)


@given(st.ip_addresses(v=6))
def test_no_address_of_ipv6_is_public_that_the_standard_library_calls_private(
    address: IPv6Address,
) -> None:
    inner = address.ipv4_mapped
    if inner is None and (not address.is_global or address.is_multicast):
        assert not is_public(address)


@given(inside(PRIVATE_V4))
def test_private_address_is_private_however_it_is_wrapped(address: IPv4Address) -> None:
    number = int(address)
    forms = (
        IPv6Address(0xFFFF_0000_0000 | number),  # ::ffff:a.b.c.d
        IPv6Address(number),  # ::a.b.c.d
        IPv6Address((0x64_FF9B << 96) | number),  # 64:ff9b::a.b.c.d
        IPv6Address((0x2002 << 112) | (number << 80) | 1),  # 6to4
        IPv6Address((0x2001_0000 << 96) | (0xFFFF_FFFF ^ number)),  # Teredo
    )
    for form in forms:
        assert not is_allowed(form, ()), form


def test_public_addresses_are_public() -> None:
    for text in ("1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::808:808"):
        assert is_public(ip_address(text)), text


def test_metadata_of_the_clouds_is_out_of_reach() -> None:
    for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"):
        assert not is_public(ip_address(text)), text


def test_operator_may_allow_networks() -> None:
    networks = networks_of(["10.1.0.0/16", "fd00::/8", "127.0.0.1"])
    for text in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "127.0.0.1", "8.8.8.8"):
        assert is_allowed(ip_address(text), networks), text
    for text in ("10.2.0.1", "::ffff:10.2.0.1", "127.0.0.2", "::1"):
        assert not is_allowed(ip_address(text), networks), text
    assert choose(["10.2.0.1", "10.1.0.1"], networks) == ["10.1.0.1"]
    with pytest.raises(AddressRefused, match="no address"):
        choose(["10.2.0.1"], networks)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "http://example.com:443/",
        "ftp://example.com:443/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://example.com@127.0.0.1/",
        "https://example.com:22/",
        "https://example.com:99999/",
        "https://example.com/#part",
        "https://example.com/#",
        "https://",
        "https:///path",
        "https://example.com\\@127.0.0.1/",
        "https://exa mple.com/",
        "https://example.com/\r\nX: y",
        "https://example.com/\x00",
        "https://münchen.example/",
        "https://[::1",
        "gopher://127.0.0.1:6379/_x",
        "https://example.com/" + "a" * 2048,
    ],
)
def test_url_is_refused(url: str) -> None:
    with pytest.raises(UrlRefused):
        parse_url(url, Allowed())


def test_url_is_taken_apart_once() -> None:
    assert parse_url("https://Example.com/a?b=%2F", Allowed()) == (
        *(True, "example.com", 443, "/a?b=%2F"),
    )
    allowed = Allowed(insecure=True, ports=())
    assert parse_url("http://[2606:4700::1]:8080", allowed) == (False, "2606:4700::1", 8080, "/")


@given(st.text(max_size=40))
def test_text_is_a_url_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}@example.com/"):
        try:
            target = parse_url(url, Allowed())
        except UrlRefused:
            continue
        assert target.is_secure
        assert target.port == 443
        assert target.host
        assert "@" not in url.split("/")[2]


LOCAL = Allowed(networks_of(["127.0.0.2"]), insecure=True, ports=())


class Rebinding:
    """A name server of an attacker: another address each time."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


async def test_very_address_that_was_looked_at_is_connected_to() -> None:
    async with receiving("127.0.0.2") as good, receiving("127.0.0.1", port=good.port) as victim:
        resolve = Rebinding(["127.0.0.2"], ["127.0.0.1"])
        sender = Sender(LOCAL, resolve=resolve)
        url = f"http://rebind.example:{good.port}/"
        answer = await sender.post(url, {}, b"{}", 5)
        assert (answer.status, resolve.asked) == (204, 1)
        assert (good.connections, victim.connections) == (1, 0)
        second = await sender.post(url, {}, b"{}", 5)
        assert second.status is None
        assert "address is refused" in second.error
        assert victim.connections == 0
        await sender.close()


async def test_address_is_looked_at_again_after_the_declaration() -> None:
    async with receiving("127.0.0.1") as victim:
        sender = Sender(LOCAL, resolve=Rebinding(["127.0.0.2"], ["127.0.0.1"]))
        url = f"http://rebind.example:{victim.port}/"
        await sender.check(url)
        assert (await sender.post(url, {}, b"{}", 5)).status is None
        assert victim.connections == 0


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]",
     "localhost", "0", "[::]", "127.0.0.1."],
)  # fmt: skip
async def test_this_machine_is_out_of_reach_however_it_is_written(host: str) -> None:
    async with receiving("127.0.0.1") as victim:
        sender = Sender(Allowed(insecure=True, ports=()))
        url = f"http://{host}:{victim.port}/"
        with pytest.raises(UrlRefused):
            await sender.check(url)
        assert (await sender.post(url, {}, b"{}", 5)).status is None
        assert victim.connections == 0


async def test_names_of_no_meaning_are_failures_not_crashes() -> None:
    sender = Sender(Allowed(insecure=True, ports=()))
    for host in ("a" * 64 + ".example", ".", "x..y", "-"):
        answer = await sender.post(f"http://{host}/", {}, b"{}", 5)
        assert answer.status is None, host


async def test_name_without_an_address_and_one_inside_are_refused_alike() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        if host.startswith("nowhere"):
            raise OSError(-2, "Name or service not known")
        return ["10.0.0.1"]

    sender = Sender(Allowed(insecure=True, ports=()), resolve=resolve)
    told: list[tuple[str, str]] = []
    for host in ("nowhere.example", "inside.example"):
        with pytest.raises(UrlRefused) as refused:
            await sender.check(f"http://{host}/")
        answer = await sender.post(f"http://{host}/", {}, b"{}", 5)
        told.append((str(refused.value), answer.error))
    assert told[0] == told[1]
