"""Sockets of callers who have not said who they are: bounded, from the first packet on.

Whoever has proved to be somebody is counted with their user and tenant. Before, there is nothing
but an address, so that is what is counted: from where, and all together, so that no number of
addresses takes the places of known callers. Where there is no place left, the one who has been
silent for longest makes room, without an answer, which would cost more than it saves: were newcomers
refused, a hundred silent sockets would keep everybody out who shares their address. So whoever
says who they are as soon as they can gets in, unless as many strangers as there are places arrive
in that time. A proxy of ours speaks for many; who connects by it is counted as soon as it has said
for whom.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from websockets.asyncio.server import ServerConnection

from objectql.service.addresses import Proxies, site_of
from objectql_gateway_ws.settings import SocketLimits

UNREAD_BYTES: Final = 64 * 1024
"""What the system holds for one client before sending waits (Linux doubles it), and of answers to
pings that may wait: who sends pings and reads nothing sends no more."""


class Place:
    """One stranger, from `site`; `cut` ends the connection."""

    def __init__(self, site: str, cut: Callable[[], None]) -> None:
        self.site = site
        self.cut = cut


class Strangers:
    """Who there is, from where, in the order of their coming."""

    def __init__(self, limits: SocketLimits, proxies: Proxies) -> None:
        self._limits = limits
        self._proxies = proxies
        self._places: dict[Place, None] = {}
        self._at: dict[str, dict[Place, None]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def enter(self, site: str, cut: Callable[[], None]) -> Place:
        """Count one more; the oldest makes room for it. The site "" has no bound of its own."""
        here = self._at.get(site, {})
        if site and len(here) >= self._limits.site_strangers:
            self._cut(next(iter(here)))
        elif len(self) >= self._limits.strangers:
            self._cut(next(iter(self._places)))
        place = Place(site, cut)
        self._places[place] = None
        self._at.setdefault(site, {})[place] = None
        return place

    def leave(self, place: Place) -> None:
        """One has gone, or has said who they are; perhaps it had to make room before."""
        if place not in self._places:
            return
        del self._places[place]
        here = self._at[place.site]
        del here[place]
        if not here:
            del self._at[place.site]

    def _cut(self, place: Place) -> None:
        self.leave(place)
        place.cut()

    def site(self, peer: str, forwarded: str | None = None) -> str:
        """From where a connection of `peer` comes; "" while only a proxy of ours could tell."""
        if forwarded is None and self._proxies.is_proxy(peer):
            return ""
        return site_of(self._proxies.client(peer, forwarded or ""))


class StrangersConnection(ServerConnection):
    """A connection that is a stranger's until `hand_over`, and that bounds what it answers by itself."""

    strangers: Strangers
    """Set by a subclass: the class is all that the server is given."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        super().connection_made(transport)
        # Of its own accord the system would take in megabytes for each client that reads nothing.
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
        self._answers = 0
        self._place: Place | None = None
        self._enter(self.strangers.site(self._peer()))

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no more."""
        super().connection_lost(exc)
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Cut who has more answers waiting than anybody reads."""
        transport = self.transport
        before = transport.get_write_buffer_size()
        super().data_received(data)
        grown = transport.get_write_buffer_size() - before
        self._answers = max(grown, 0) + (self._answers if before else 0)
        if self._answers > UNREAD_BYTES:
            transport.abort()

    def told(self, forwarded: str) -> None:
        """Count it from where the proxy says that it comes."""
        site = self.strangers.site(self._peer(), forwarded)
        if self._place is not None and self._place.site != site:
            self._leave()
            self._enter(site)

    def hand_over(self) -> Place | None:
        """Let another say when it is no stranger's any more; None where it has gone already."""
        place, self._place = self._place, None
        return place

    def _enter(self, site: str) -> None:
        self._place = self.strangers.enter(site, self.transport.abort)

    def _leave(self) -> None:
        place = self.hand_over()
        if place is not None:
            self.strangers.leave(place)

    def _peer(self) -> str:
        peer: tuple[str, int] | str | None = self.transport.get_extra_info("peername")
        return peer[0] if isinstance(peer, tuple) else ""  # text: of a Unix socket


def counted_by(strangers: Strangers) -> type[ServerConnection]:
    """Connections that `strangers` counts."""
    return type("Connection", (StrangersConnection,), {"strangers": strangers})
