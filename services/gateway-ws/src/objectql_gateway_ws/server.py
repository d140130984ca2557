"""The sockets: handshakes, heartbeats, frames in and out of `websockets`."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from objectql.errors import ObjectQLError, QuotaExceeded, Unauthenticated
from objectql.service.addresses import Proxies
from objectql.service.live.frames import error_frame
from objectql.service.live.listener import Ending
from objectql.service.live.session import Session
from objectql.service.origins import origin
from objectql_gateway_ws.gateway import Gateway
from objectql_gateway_ws.settings import SocketSettings
from objectql_gateway_ws.strangers import UNREAD_BYTES, StrangersConnection, counted_by

log = logging.getLogger(__name__)

UNAUTHENTICATED: Final = 4401
SILENT: Final = 4408
TOO_MANY: Final = 4429

CLOSE_CODES: Final = {
    Ending.UNAUTHENTICATED: UNAUTHENTICATED,
    Ending.REVOKED: UNAUTHENTICATED,
    Ending.EXPIRED: UNAUTHENTICATED,
    Ending.SILENT: SILENT,
    Ending.SLOW: TOO_MANY,
    Ending.FULL: TOO_MANY,
    Ending.RESTART: 1012,
    Ending.LATER: 1013,
}

PATHS: Final = frozenset({"/ws", "/api/realtime", "/api/v1/realtime/ws"})
SUBPROTOCOL: Final = "objectql"
"""What is answered to a client that offers `objectql, <token>`; the token is never sent back."""

_CLOSE_S: Final = 3.0
"""For a client to read why it is hung up on, and to say goodbye."""

_HANG_UPS: Final = 8
"""Clients who are hung up on in one turn of the loop: each costs a tenth of a millisecond or more,
and those who read the same slowly are cut at the same event."""

_READ_AHEAD: Final = 4
"""Frames of one client that are taken from the network before it is made to wait."""


class _Wire:
    """A socket as sessions know it."""

    def __init__(
        self,
        connection: ServerConnection,
        count_close: Callable[[int], None],
        turns: asyncio.Semaphore,
    ) -> None:
        """`turns` has a place for each that may be hung up on in one turn of the loop."""
        self._connection = connection
        self._count_close = count_close
        self._turns = turns

    async def send(self, frames: Sequence[bytes]) -> None:
        connection, protocol = self._connection, self._connection.protocol
        async with connection.send_context():
            for text in frames:
                protocol.send_text(text)
            protocol.writes = [b"".join(protocol.writes)]  # or each would be a call of the system

    async def close(self, why: Ending, cursor: str | None) -> None:
        code, reason = CLOSE_CODES[why], why.value
        if why is Ending.SLOW:
            reason = json.dumps({"reason": reason, "cursor": cursor})
        self._count_close(code)
        async with self._turns:
            await asyncio.sleep(0)  # who reads must not wait for a thousand who do not
        with suppress(ConnectionClosed, OSError):
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await self._connection.close(code, reason)
            except TimeoutError:  # it waits behind what the client does not read
                self._connection.transport.abort()


class SocketServer:
    """Serves the gateway's sockets on one address until `stop`."""

    def __init__(self, gateway: Gateway, settings: SocketSettings, *, frame_bytes: int) -> None:
        self.gateway = gateway
        self._settings = settings
        self._proxies = Proxies(settings.trusted_proxies)
        self._frame_bytes = frame_bytes
        self._turns = asyncio.Semaphore(_HANG_UPS)
        self._server: Server | None = None

    @property
    def is_listening(self) -> bool:
        return self._server is not None

    @property
    def port(self) -> int:
        """Where it listens; tells the port that was free when asked for 0."""
        assert self._server is not None
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return port

    async def start(self) -> None:
        """Serve from now on.

        Raises:
            OSError: the address is taken.

        """
        settings = self._settings
        self._server = await serve(
            self._serve,
            settings.host,
            settings.port,
            ssl=_tls(settings),
            compression=None,
            extensions=_EXTENSIONS if settings.compression else None,
            process_request=self._check_request,
            select_subprotocol=_select_subprotocol,
            open_timeout=settings.auth_timeout_s,
            ping_interval=settings.heartbeat_s,
            ping_timeout=settings.heartbeat_s,
            close_timeout=2,
            create_connection=counted_by(self.gateway.strangers),
            max_size=self._frame_bytes,
            max_queue=_READ_AHEAD,
            write_limit=UNREAD_BYTES,
            server_header=None,
            logger=_quiet_logger(),
        )

    async def stop(self) -> None:
        """Tell clients to come back, hang up, and accept no more."""
        server = self._server
        if server is None:
            return
        server.close(close_connections=False)
        await self.gateway.drain(self._settings.reconnect_within_s)
        await server.wait_closed()

    # --- one socket --------------------------------------------------------------------------

    def _check_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """An answer to what is refused before it is a socket."""
        target = urlsplit(request.path)
        if target.path not in PATHS:
            return connection.respond(HTTPStatus.NOT_FOUND, "this is the WebSocket gateway: /ws\n")
        if not _is_welcome(request.headers, self._settings.origins):
            return connection.respond(HTTPStatus.FORBIDDEN, "this origin may not connect\n")
        if self.gateway.is_full:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "too many sockets\n")
        assert isinstance(connection, StrangersConnection)
        forwarded = ",".join(request.headers.get_all("X-Forwarded-For"))
        connection.told(forwarded)
        return None

    def _origin(self, connection: ServerConnection) -> str:
        """See `Context`."""
        assert connection.request is not None
        headers = connection.request.headers
        peer: tuple[str, int] | str | None = connection.remote_address
        address = self._proxies.client(
            peer[0] if isinstance(peer, tuple) else "",  # text: of a Unix socket
            ",".join(headers.get_all("X-Forwarded-For")),
        )
        return origin(headers.get("User-Agent", ""), address)

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        assert isinstance(connection, StrangersConnection)
        wire = _Wire(connection, self.gateway.count_close, self._turns)
        session = self.gateway.enter(wire, self._origin(connection), connection.hand_over())
        sending = asyncio.ensure_future(session.send_all())
        patience = asyncio.get_running_loop().call_later(
            self._settings.auth_timeout_s, _hang_up_on_nobody, session
        )
        try:
            token = _find_token(connection.request)
            if token is not None:
                await _authenticate(session, token)
            async for text in connection:
                await session.take(text.encode() if isinstance(text, str) else text)
        except ConnectionClosed:
            pass
        finally:
            patience.cancel()
            sending.cancel()
            await asyncio.wait({sending})
            if not sending.cancelled():
                sending.exception()  # it failed because the socket is gone
            self.gateway.leave(session)
            await session.end()


async def _authenticate(session: Session, token: str) -> None:
    try:
        await session.authenticate(token)
    except ObjectQLError as exc:
        session.tell(error_frame(exc))
        await session.flush()
        match exc:
            case Unauthenticated():
                session.close(Ending.UNAUTHENTICATED)
            case QuotaExceeded():
                session.close(Ending.FULL)
            case _:
                session.close(Ending.LATER)


def _hang_up_on_nobody(session: Session) -> None:
    if session.caller is None:
        session.close(Ending.SILENT)


# --- handshakes ------------------------------------------------------------------------------


def _find_token(request: Request) -> str | None:
    """The token in the header, among the subprotocols, or in the address."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    key = request.headers.get("X-API-Key")
    if key is not None:
        return key
    offered = _offered(request.headers)
    if SUBPROTOCOL in offered and len(offered) > 1:
        return next(each for each in offered if each != SUBPROTOCOL)
    query = parse_qs(urlsplit(request.path).query)
    for name in ("token", "access_token"):
        if query.get(name):
            return query[name][0]
    return None


def _offered(headers: Headers) -> list[str]:
    texts = ",".join(headers.get_all("Sec-WebSocket-Protocol"))
    return [text.strip() for text in texts.split(",") if text.strip()]


def _select_subprotocol(_connection: ServerConnection, offered: Any) -> Subprotocol | None:
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None


def _is_welcome(headers: Headers, origins: tuple[str, ...]) -> bool:
    """Whether a page of this origin may connect; programs send none."""
    given = headers.get_all("Origin")
    if not given:
        return True
    if len(given) > 1:
        return False
    if "*" in origins:
        return True
    if origins:
        return given[0].lower().rstrip("/") in {origin.lower().rstrip("/") for origin in origins}
    return urlsplit(given[0]).netloc.lower() == headers.get("Host", "").lower()


_EXTENSIONS: Final = [
    ServerPerMessageDeflateFactory(
        # Without windows that are kept from message to message an idle client costs nothing.
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=12,
        client_max_window_bits=12,
        compress_settings={"memLevel": 5, "level": 1},
    )
]


def _quiet_logger() -> logging.Logger:
    """Never tells what is in a handshake or a frame, whatever level the process logs at."""
    quiet = logging.getLogger("websockets.server")
    quiet.setLevel(logging.WARNING)
    return quiet


def _tls(settings: SocketSettings) -> ssl.SSLContext | None:
    if settings.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.certificate, settings.key)
    return context
