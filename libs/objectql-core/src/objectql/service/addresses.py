"""Whose address a request comes from, when proxies stand in between."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

UNKNOWN: Final = "unknown"
"""The address of a client on a Unix socket, or behind a proxy that garbles addresses."""

_SITE_BITS: Final = 64


class Proxies:
    """The networks whose `X-Forwarded-For` is believed.

    Each proxy appends who called it, so the list is read from its end: the first address that is
    no proxy of ours is the client's, and whatever stands before it, the client may have made up.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        """Take addresses and networks, as `10.0.0.0/8`.

        Raises:
            ValueError: one of them is neither.

        """
        self._networks = tuple(ip_network(network) for network in networks)

    def is_proxy(self, peer: str) -> bool:
        """Whether `peer` is one of ours, which speaks for others."""
        address = _parsed(peer)
        return address is not None and self._is_ours(address)

    def client(self, peer: str, forwarded: str) -> str:
        """The address of the client that connects from `peer`; `UNKNOWN` where nobody can tell.

        It is one of IPv4 where it can be. `forwarded` is the `X-Forwarded-For` of the request.
        """
        address = _parsed(peer)
        if address is None:
            return UNKNOWN
        if self._is_ours(address):
            for hop in reversed(forwarded.split(",")):
                if not hop.strip():
                    continue
                address = _parsed(_without_port(hop.strip()))
                if address is None:
                    return UNKNOWN
                if not self._is_ours(address):
                    break
        return str(address)

    def _is_ours(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def site_of(address: str) -> str:
    """What one client is taken to have to itself: an IPv4 address, the first half of an IPv6 one."""
    if ":" not in address:
        return address
    return str(ip_network((address, _SITE_BITS), strict=False))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
