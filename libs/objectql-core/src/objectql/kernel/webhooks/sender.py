"""One signed request to one endpoint. The only user of httpcore.

httpcore opens connections through a backend that is ours, and speaks TLS over whatever that gives
it, for the name in the URL: so the address is chosen and checked in one place, and certificates are
verified as ever. It knows no redirects, no proxies from the environment, no cookies, and does not
unpack bodies.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import httpcore

from objectql.kernel.webhooks.addresses import (
    NO_ADDRESS,
    AddressRefused,
    Allowed,
    Network,
    Target,
    UrlRefused,
    choose,
    parse_url,
)
from objectql.kernel.webhooks.lookups import ASKER, Lookups
from objectql.kernel.webhooks.rules import Answer

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, as text; raises `OSError` where there are none."""

_CHECK_S: Final = 5.0
_EXCERPT_BYTES: Final = 256
_ADDRESSES_TRIED: Final = 2
_IDLE_S: Final = 15.0
"""How long a connection is kept for the next request; its address was checked when it was made."""


async def _addresses(
    resolve: Resolve, host: str, port: int, networks: Iterable[Network]
) -> list[str]:
    """The addresses of `host` that may be connected to.

    Raises:
        AddressRefused: there are none. A name without an address and one whose address is of a
            network inside are refused alike: the difference would be a map of that network.

    """
    try:
        found = await resolve(host, port)
    except (OSError, UnicodeError):
        found = ()
    return choose(found, networks)


class Sender:
    """Connections to endpoints, shared by all webhooks of a worker."""

    def __init__(
        self,
        allowed: Allowed,
        *,
        resolve: Resolve | None = None,
        trust: ssl.SSLContext | None = None,
        max_connections: int = 100,
    ) -> None:
        """`trust` are the authorities of certificates, without one the system's.

        Without `resolve` names are looked up as the system does.
        """
        self._allowed = allowed
        self._lookups = Lookups() if resolve is None else None
        self._resolve = resolve or cast("Resolve", self._lookups)
        self._trust = trust
        self._max_connections = max_connections
        self._pool: httpcore.AsyncConnectionPool | None = None

    async def check(self, url: str, *, tenant: str = "") -> None:
        """Return if `url` could be sent to now; each request is checked again.

        `tenant` is for whom, here and in `post`.

        Raises:
            UrlRefused: it could not.

        """
        target = parse_url(url, self._allowed)
        ASKER.set(tenant)
        try:
            async with asyncio.timeout(_CHECK_S):
                await _addresses(self._resolve, target.host, target.port, self._allowed.networks)
        except AddressRefused as exc:
            raise UrlRefused(str(exc)) from exc
        except TimeoutError as exc:
            raise UrlRefused(NO_ADDRESS) from exc

    async def post(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
        *,
        tenant: str = "",
    ) -> Answer:
        """What came of it, whatever happens; within `timeout_s` all in all."""
        ASKER.set(tenant)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._post(parse_url(url, self._allowed), headers, body)
        except TimeoutError:
            return Answer(None, error=f"no answer within {timeout_s:g} s")
        except UrlRefused as exc:
            return Answer(None, error=f"the URL is refused: {exc}")
        except AddressRefused as exc:
            return Answer(None, error=f"the address is refused: {exc}")
        except (*_FAILURES, OSError, UnicodeError) as exc:
            text = str(exc) or str(exc.__cause__ or "")
            return Answer(None, error=f"{type(exc).__name__}: {text}".rstrip(": "))

    async def _post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        pool = self._pool
        if pool is None:
            pool = self._pool = httpcore.AsyncConnectionPool(
                ssl_context=self._trust or ssl.create_default_context(),
                max_connections=self._max_connections,
                keepalive_expiry=_IDLE_S,
                network_backend=_CheckedBackend(self._resolve, self._allowed.networks),
            )
        url = httpcore.URL(
            scheme="https" if target.is_secure else "http",
            host=target.host,
            port=target.port,
            target=target.path,
        )
        sent = {"Host": _host_header(target), "Content-Length": str(len(body)), **headers}
        async with pool.stream("POST", url, headers=list(sent.items()), content=body) as response:
            told = {name.lower(): value for name, value in response.headers}
            retry_after = told.get(b"retry-after")
            excerpt = b""
            async for chunk in response.aiter_stream():
                excerpt += chunk[:_EXCERPT_BYTES]
                if len(excerpt) >= _EXCERPT_BYTES:
                    break  # the rest is nobody's business; the connection is given up
        return Answer(
            response.status,
            None if retry_after is None else retry_after.decode("latin-1"),
            _printable(excerpt[:_EXCERPT_BYTES]),
        )

    async def close(self) -> None:
        """End all connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()
        if self._lookups is not None:
            self._lookups.close()


_FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.ConnectionNotAvailable,
)


class _CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked, never to a name."""

    def __init__(self, resolve: Resolve, networks: Iterable[Network]) -> None:
        self._resolve = resolve
        self._networks = tuple(networks)
        self._inner = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    async def connect_tcp(  # noqa: PLR0917 - the backend's interface
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - likewise
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to one of the addresses that `host` has now."""
        addresses = await _addresses(self._resolve, host, port, self._networks)
        failure: Exception | None = None
        for address in addresses[:_ADDRESSES_TRIED]:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
        assert failure is not None
        raise failure

    async def sleep(self, seconds: float) -> None:
        """Pause between retries, which are not used here."""
        await asyncio.sleep(seconds)


def _host_header(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return host if target.port == (443 if target.is_secure else 80) else f"{host}:{target.port}"


def _printable(excerpt: bytes) -> str:
    """On one line, and without what a terminal would obey."""
    text = excerpt.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text).strip()
