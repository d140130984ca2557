"""Which URLs may be declared, and which addresses may be connected to.

Whoever may declare a webhook makes this cluster send requests, from within its network. So only
addresses of the public internet are connected to, unless the operator names others. What counts is
the address at the moment of connecting: a name is resolved once, and one of the very addresses
that were looked at is connected to, whatever the name resolves to a moment later.

Sources: the registries of special-purpose addresses of IANA (RFC 6890 and what it has collected
since); RFC 6052 (addresses of IPv4 in IPv6); OWASP, "Server-Side Request Forgery Prevention".
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

MAX_URL: Final = 2048

_DENIED_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by the customers of a carrier, and metadata of some clouds
        "127.0.0.0/8",
        "168.63.129.16/32",  # what machines of Azure ask of their host
        "169.254.0.0/16",  # link-local, and the metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_PUBLIC_V6: Final = IPv6Network("2000::/3")
"""What is handed out at all: loopback, link-local, unique local, multicast lie outside."""

_DENIED_V6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocols, Teredo among them, which carries any IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4, which does too
        "3fff::/20",
    )
)
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")


NO_ADDRESS: Final = "the host has no address of the public internet"


class UrlRefused(ValueError):
    """No webhook may be sent to such a URL; the text says why."""


class AddressRefused(Exception):
    """The URL's host has no address that may be connected to."""


class Target(NamedTuple):
    """The parts of a URL that was checked. No other parser looks at the text again."""

    is_secure: bool
    host: str
    port: int
    path: str
    """With the query."""


class Allowed(NamedTuple):
    """What an operator allows beyond HTTPS to public addresses; `ports` of () are all."""

    networks: tuple[Network, ...] = ()
    insecure: bool = False
    ports: tuple[int, ...] = (443,)


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """Networks or single addresses.

    Raises:
        ValueError: one is neither.

    """
    return tuple(ip_network(text, strict=False) for text in texts)


def parse_url(url: str, allowed: Allowed) -> Target:
    """The parts of `url`.

    Raises:
        UrlRefused: it is none that a webhook may be sent to.

    """
    if len(url) > MAX_URL or not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        raise UrlRefused(f"it has {MAX_URL} visible characters of ASCII at most")
    if "\\" in url:
        raise UrlRefused("it has a backslash, which readers of URLs understand differently")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise UrlRefused(f"it is no URL: {exc}") from exc
    if parts.scheme != "https" and not (allowed.insecure and parts.scheme == "http"):
        raise UrlRefused("it must begin with https://")
    if "@" in parts.netloc:
        raise UrlRefused("it must not name a user or a password; use headers")
    if not parts.hostname:
        raise UrlRefused("it names no host")
    if parts.fragment or url.endswith("#"):
        raise UrlRefused("it must have no fragment")
    is_secure = parts.scheme == "https"
    if port is None:
        port = 443 if is_secure else 80
    if allowed.ports and port not in allowed.ports:
        raise UrlRefused(f"its port must be one of {', '.join(map(str, allowed.ports))}")
    path = parts.path or "/"
    return Target(is_secure, parts.hostname, port, f"{path}?{parts.query}" if parts.query else path)


def is_public(address: Address) -> bool:
    """Whether `address` is one of the public internet's."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _DENIED_V4)
    inner = _inner(address)
    if inner is not None:
        return is_public(inner)
    return address in _PUBLIC_V6 and not any(address in network for network in _DENIED_V6)


def is_allowed(address: Address, networks: Iterable[Network]) -> bool:
    """Whether `address` may be connected to: a public one, or one of `networks`."""
    forms = [address]
    if isinstance(address, IPv6Address) and (inner := _inner(address)) is not None:
        forms.append(inner)
    return is_public(address) or any(form in network for form in forms for network in networks)


def choose(texts: Iterable[str], networks: Iterable[Network]) -> list[str]:
    """Those of the resolved addresses that may be connected to, in their order.

    Raises:
        AddressRefused: none may. The text does not repeat them: it would tell of the network.

    """
    found = list(dict.fromkeys(text for text in texts if is_allowed(ip_address(text), networks)))
    if not found:
        raise AddressRefused(NO_ADDRESS)
    return found


def _inner(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that connecting to `address` ends at, if that is how it is written."""
    if address in _MAPPED or address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None
