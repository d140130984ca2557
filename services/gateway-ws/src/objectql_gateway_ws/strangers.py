"""Sockets of callers who have not said who they are: bounded, from the first packet on.

Whoever has proved to be somebody is counted with their user and tenant. Before, there is nothing
but an address, so that is what is counted: from where, and all together, so that no number of
addresses takes the places of known callers. A connection over the limit is cut without an answer,
which would cost more than it saves. A proxy of ours speaks for many; who connects by it is counted
as soon as it has said for whom.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import Final, cast

from websockets.asyncio.server import ServerConnection

from objectql.service.addresses import Proxies, site_of
from objectql_gateway_ws.settings import SocketLimits

UNREAD_BYTES: Final = 64 * 1024
"""What the system holds for one client before sending waits (Linux doubles it), and of answers to
pings that may wait: who sends pings and reads nothing sends no more."""


class Strangers:
    """How many there are, from where."""

    def __init__(self, limits: SocketLimits, proxies: Proxies) -> None:
        self._limits = limits
        self._proxies = proxies
        self._at: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._at.total()

    def enter(self, site: str) -> bool:
        """Count one, if there is room; the site "" has no bound of its own."""
        if len(self) >= self._limits.strangers:
            return False
        if site and self._at[site] >= self._limits.site_strangers:
            return False
        self._at[site] += 1
        return True

    def leave(self, site: str) -> None:
        """One has gone, or has said who they are."""
        self._at[site] -= 1
        if not self._at[site]:
            del self._at[site]

    def site(self, peer: str, forwarded: str | None = None) -> str:
        """From where a connection of `peer` comes; "" while only a proxy of ours could tell."""
        if forwarded is None and self._proxies.is_proxy(peer):
            return ""
        return site_of(self._proxies.client(peer, forwarded or ""))


class StrangersConnection(ServerConnection):
    """A connection that is a stranger's until `known`, and that bounds what it answers by itself."""

    strangers: Strangers
    """Set by a subclass: the class is all that the server is given."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Cut it where there are too many already."""
        super().connection_made(transport)
        # Of its own accord the system would take in megabytes for each client that reads nothing.
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
        self._answers = 0
        self._site: str | None = self.strangers.site(self._peer())
        if not self.strangers.enter(self._site):
            self._site = None
            cast("asyncio.Transport", transport).abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        super().connection_lost(exc)
        self.known()

    def data_received(self, data: bytes) -> None:
        """Cut who has more answers waiting than anybody reads."""
        transport = self.transport
        before = transport.get_write_buffer_size()
        super().data_received(data)
        grown = transport.get_write_buffer_size() - before
        self._answers = max(grown, 0) + (self._answers if before else 0)
        if self._answers > UNREAD_BYTES:
            transport.abort()

    def told(self, forwarded: str) -> bool:
        """Count it from where the proxy says that it comes; False where there are too many."""
        site = self.strangers.site(self._peer(), forwarded)
        if self._site == site:
            return True
        self.known()
        if not self.strangers.enter(site):
            return False
        self._site = site
        return True

    def known(self) -> str:
        """Let another count it from now on; from where it comes."""
        site, self._site = self._site, None
        if site is None:
            return ""
        self.strangers.leave(site)
        return site

    def _peer(self) -> str:
        peer: tuple[str, int] | str | None = self.transport.get_extra_info("peername")
        return peer[0] if isinstance(peer, tuple) else ""  # text: of a Unix socket


def counted_by(strangers: Strangers) -> type[ServerConnection]:
    """Connections that `strangers` counts."""
    return type("Connection", (StrangersConnection,), {"strangers": strangers})
