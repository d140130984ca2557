"""Where callers call from: the class of their program and their address, for the audit.

The address is that of the connection. Behind proxies that is a proxy's, so that those in networks
that are trusted by a setting are believed about whom they speak for: of `X-Forwarded-For`, to which
each proxy adds whom it heard, the last address counts that is not a trusted proxy's own. Whatever
stands before it may have been made up by the caller.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from objectql_gateway_rest.asgi import Request

_CLASSES: Final = (
    ("bot", ("bot", "crawl", "spider")),
    ("browser", ("mozilla/",)),
    ("command", ("curl/", "wget/", "httpie/")),
)
"""The first one counts of whose words one is in the `User-Agent`; all else is a `program`."""

_KNOWN: Final = 120
"""Characters of a `User-Agent` that are looked at."""


class Origins:
    """Tells where requests come from."""

    def __init__(self, trusted_proxies: Iterable[str] = ()) -> None:
        self._trusted = tuple(ip_network(network) for network in trusted_proxies)

    def of(self, request: Request) -> str:
        """The class of the program and the address, as `browser 203.0.113.7`; see `Context`."""
        return (
            f"{agent_class(request.headers.get('user-agent', '')[:_KNOWN])} {self.address(request)}"
        )

    def address(self, request: Request) -> str:
        """The address of the caller; `unknown` where there is none, as on a Unix socket."""
        peer = request.peer or "unknown"
        if not self._trusted or not self._is_trusted(peer):
            return peer
        heard = request.headers.get("x-forwarded-for", "").split(",")
        for text in reversed(heard):
            address = text.strip()
            if _parsed(address) is None:  # nobody vouches for what stands before it
                return peer
            peer = address
            if not self._is_trusted(address):
                break
        return peer

    def _is_trusted(self, text: str) -> bool:
        address = _parsed(text)
        return address is not None and any(address in network for network in self._trusted)


@lru_cache(maxsize=1024)
def agent_class(user_agent: str) -> str:
    """`browser`, `bot`, `command`, `program`, or `none` where the caller does not say."""
    told = user_agent.lower()
    if not told:
        return "none"
    for name, words in _CLASSES:
        if any(word in told for word in words):
            return name
    return "program"


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
