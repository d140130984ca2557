"""The HTTP server: uvicorn in a loop that is already running, stopped by us and not by signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn

from objectql_gateway_rest.application import Application
from objectql_gateway_rest.corked import CorkedProtocol

_KEEP_ALIVE_S = 75
_BACKLOG = 2048


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

    def __init__(self, application: Application, *, host: str, port: int, drain_s: float) -> None:
        config = uvicorn.Config(
            application,
            host=host,
            port=port,
            http=CorkedProtocol,
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
