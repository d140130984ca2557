"""The HTTP server: uvicorn in a loop that is already running, stopped by us and not by signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn

from objectql_gateway_rest.application import Application
from objectql_gateway_rest.guarded import GuardedProtocol
from objectql_gateway_rest.settings import ListenSettings

_KEEP_ALIVE_S = 75
_BACKLOG = 2048
_SAFE = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "frame-ancestors 'none'"),
]
"""On every answer. A page of ours adds a policy of its own, and browsers heed both."""
_ONLY_ENCRYPTED = ("strict-transport-security", "max-age=31536000")


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the process decides when to stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class HttpServer:
    """Serves the application on one address until `stop`."""

    def __init__(self, application: Application, listen: ListenSettings, *, drain_s: float) -> None:
        class Protocol(GuardedProtocol):
            head_timeout_s = listen.head_timeout_s
            body_timeout_s = listen.body_timeout_s

        config = uvicorn.Config(
            application,
            host=listen.host,
            port=listen.port,
            http=Protocol,
            headers=_SAFE if listen.certificate is None else [*_SAFE, _ONLY_ENCRYPTED],
            ssl_certfile=listen.certificate,
            ssl_keyfile=listen.key,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, int(drain_s)),
        )
        self._server = _Server(config)
        self._ended = asyncio.Event()

    @property
    def is_listening(self) -> bool:
        return self._server.started

    async def wait_listening(self) -> None:
        """Return once connections are accepted."""
        await self._server.listening.wait()

    @property
    def port(self) -> int:
        """Where it listens; tells the port that was free when asked for 0."""
        return self._server.servers[0].sockets[0].getsockname()[1]

    async def run(self) -> None:
        """Serve until stopped.

        Raises:
            OSError: the address is taken.

        """
        try:
            await self._server.serve()
        except SystemExit as exc:  # how uvicorn says that it cannot listen
            raise OSError(f"cannot listen on port {self._server.config.port}") from exc
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Accept no more connections and return when open requests are answered."""
        self._server.should_exit = True
        await self._ended.wait()
