"""All sockets of this process: how many there may be, and how they are told to come back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from objectql.service.claims import Caller
from objectql.service.live.frames import frame
from objectql.service.live.listener import Ending
from objectql.service.live.listeners import Listeners
from objectql.service.live.requests import Requests
from objectql.service.live.session import Session, Wire
from objectql_gateway_ws.settings import SocketLimits
from objectql_gateway_ws.strangers import Place, Strangers


class Gateway:
    """The sockets, and what they share."""

    def __init__(
        self,
        listeners: Listeners,
        requests: Requests,
        *,
        limits: SocketLimits,
        strangers: Strangers,
        count: Callable[..., None],
    ) -> None:
        """`count` is `Metrics.count`."""
        self.listeners = listeners
        self.strangers = strangers
        self._requests = requests
        self._limits = limits
        self._count = count
        self._sessions: set[Session] = set()
        self._places: dict[Session, Place] = {}
        """Of those who have not said who they are."""

    @property
    def sockets(self) -> int:
        return len(self._sessions)

    @property
    def is_full(self) -> bool:
        """Whether no more sockets are taken."""
        return len(self._sessions) >= self._limits.sockets

    @property
    def waiting_bytes(self) -> int:
        """What waits for clients to read it."""
        return sum(session.outgoing.waiting_bytes for session in self._sessions)

    def count_close(self, code: int) -> None:
        """A socket is closed by this gateway."""
        self._count("oql_live_closes_total", str(code))

    def enter(self, wire: Wire, origin: str, place: Place | None) -> Session:
        """A socket has opened, of a client with this `origin`; `place` is its stranger's."""
        session = SocketSession(self, wire, self._requests, origin)
        self._sessions.add(session)
        if place is not None:
            self._places[session] = place
        return session

    def leave(self, session: Session) -> None:
        """A socket has closed."""
        self._sessions.discard(session)
        self.is_no_stranger(session)
        self.listeners.leave(session)

    def is_no_stranger(self, session: Session) -> None:
        """It has said who it is, or has gone."""
        place = self._places.pop(session, None)
        if place is not None:
            self.strangers.leave(place)

    async def drain(self, within_s: float) -> None:
        """Tell every client to come back, spread over `within_s`, and close."""
        sessions = list(self._sessions)
        for session in sessions:
            wait_ms = int(random.uniform(0, within_s) * 1000)  # noqa: S311 - jitter, not a secret
            session.tell(frame("closing", reason="restart", reconnect_after_ms=wait_ms))
        await asyncio.gather(*(session.flush() for session in sessions))
        for session in sessions:
            session.close(Ending.RESTART)


class SocketSession(Session):
    """A client with a socket, who is a stranger at first."""

    def __init__(self, gateway: Gateway, wire: Wire, requests: Requests, origin: str) -> None:
        super().__init__(wire, gateway.listeners, requests, origin)
        self._gateway = gateway

    async def authenticate(self, token: str) -> Caller:
        """See `Session.authenticate`."""
        caller = await super().authenticate(token)
        self._gateway.is_no_stranger(self)
        return caller
