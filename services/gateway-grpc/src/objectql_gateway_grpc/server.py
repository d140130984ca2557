"""The gRPC server: one port, its limits, and an end that lets calls finish."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import grpc
from grpc import aio

from objectql_gateway_grpc.settings import CallLimits, ListenSettings

_COMPRESSION: Final = {
    "none": grpc.Compression.NoCompression,
    "deflate": grpc.Compression.Deflate,
    "gzip": grpc.Compression.Gzip,
}
_PING_STRIKES: Final = 2


class GrpcServer:
    """Serves `handlers` on one address from `start` until `stop`."""

    def __init__(
        self,
        handlers: Sequence[grpc.GenericRpcHandler],
        listen: ListenSettings,
        limits: CallLimits,
        *,
        drain_s: float,
    ) -> None:
        self._handlers = handlers
        self._listen = listen
        self._limits = limits
        self._drain_s = drain_s
        self._server: aio.Server | None = None
        self.port = 0
        """Where it listens; tells the port that was free when asked for 0."""

    @property
    def is_listening(self) -> bool:
        return self._server is not None

    async def start(self) -> None:
        """Serve from now on.

        Raises:
            OSError: the address is taken, or the certificate cannot be read.

        """
        listen = self._listen
        server = aio.server(
            options=_options(listen, self._limits),
            compression=_COMPRESSION[listen.compression],
        )
        server.add_generic_rpc_handlers(self._handlers)
        address = f"{listen.host}:{listen.port}"
        try:
            self.port = self._add_port(server, address)
        except RuntimeError as exc:  # how grpc says that it cannot listen
            raise OSError(f"cannot listen on {address}") from exc
        await server.start()
        self._server = server

    def _add_port(self, server: aio.Server, address: str) -> int:
        if self._listen.certificate is None:
            return server.add_insecure_port(address)
        chain = Path(self._listen.certificate).read_bytes()
        key = Path(self._listen.key or self._listen.certificate).read_bytes()
        return server.add_secure_port(address, grpc.ssl_server_credentials([(key, chain)]))

    async def stop(self) -> None:
        """Take no more calls, tell clients to go elsewhere (GOAWAY), and let calls finish."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(self._drain_s)


def _options(listen: ListenSettings, limits: CallLimits) -> list[tuple[str, int]]:
    """Channel arguments, as grpc/impl/channel_arg_names.h lists them."""
    return [
        ("grpc.so_reuseport", 0),  # two processes on one port would each get a part of the calls
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_send_message_length", limits.answer_bytes),
        ("grpc.max_metadata_size", limits.metadata_bytes),
        # Between the two limits calls would be refused by chance, so that clients notice.
        ("grpc.absolute_max_metadata_size", limits.metadata_bytes),
        ("grpc.max_concurrent_streams", limits.streams),
        ("grpc.keepalive_time_ms", _ms(listen.keepalive_s)),
        ("grpc.keepalive_timeout_ms", _ms(listen.keepalive_timeout_s)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(listen.min_ping_s)),
        ("grpc.http2.max_ping_strikes", _PING_STRIKES),
        ("grpc.max_connection_idle_ms", _ms(listen.max_idle_s)),
        ("grpc.max_connection_age_ms", _ms(listen.max_age_s)),
        ("grpc.server_handshake_timeout_ms", _ms(listen.handshake_timeout_s)),
    ]


def _ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))
