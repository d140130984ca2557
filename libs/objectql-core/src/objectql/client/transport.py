"""Requests to the REST gateway, sent again when that is safe, until the time is over.

Reads are always safe. Writes are, because each carries an idempotency key: the cluster does what is
asked once, and answers every repetition alike. What is not known when the time is over is said so
(`OutcomeUnknown`), whatever else went wrong afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import httpx
import msgspec

from objectql.client.backoff import Backoff, Patience
from objectql.client.credentials import Credentials
from objectql.client.problems import problem_error
from objectql.client.written import Written
from objectql.errors import (
    Category,
    Internal,
    ObjectQLError,
    OutcomeUnknown,
    Unauthenticated,
    Unavailable,
)
from objectql.ids import uuid7

_TOKEN: Final = "Oql-Consistency-Token"  # noqa: S105 - the name of a header
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_MARGIN_S: Final = 1.0
"""How much longer than the server a client waits for what the server gives up on."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """How long one attempt and the whole of a call may take."""

    attempt_s: float = 10.0
    call_s: float = 30.0


class Transport:
    """A pool of connections to one gateway, as one caller."""

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        times: Times,
        patience: Patience,
        network: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`network` carries the requests instead of connections."""
        self.credentials = credentials
        self._times = times
        self._patience = patience
        self._written = Written()
        self._http = httpx.AsyncClient(base_url=url.rstrip("/"), transport=network)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def read(self, method: str, path: str, body: Any = None) -> Any:
        """The decoded answer to a question; it has seen everything that this client wrote.

        Raises:
            ObjectQLError: what the gateway says, or that none answers in time.

        """
        presented = self._written.header
        headers = {} if presented is None else {_TOKEN: presented}
        return _decoded(await self._send(method, path, body, headers, writes=False))

    async def write(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The decoded answer to a change, which was made once however often it was sent.

        Raises:
            ObjectQLError: what the gateway says; `OutcomeUnknown` if it did not say in time.

        """
        presented = self._written.header
        told = {"Idempotency-Key": key or uuid7(), **(headers or {})}
        if presented is not None:
            told[_TOKEN] = presented
        answer = await self._send(method, path, body, told, writes=True)
        token = answer.headers.get(_TOKEN)
        if token is not None:
            self._written.answered(presented, token)
        return _decoded(answer)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to one attempt without credentials, see `credentials.Post`."""
        try:
            answer = await self._attempt("POST", path, _encode(body), {}, self._times.attempt_s)
        except _NOT_SENT as exc:
            raise Unavailable(what="the gateway") from exc
        except httpx.TransportError as exc:
            raise OutcomeUnknown from exc
        if not answer.is_success:
            raise problem_error(answer.status_code, answer.content)
        return _decoded(answer)

    async def _send(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], *, writes: bool
    ) -> httpx.Response:
        content = None if body is None else _encode(body)
        backoff = Backoff(self._patience)
        until = time.monotonic() + self._times.call_s
        is_renewed = is_unknown = False
        while True:
            at_least_s = 0.0
            try:
                token = await self.credentials.token(self.post)
                told = {**headers, "Authorization": f"Bearer {token}"}
                left_s = min(self._times.attempt_s, max(0.001, until - time.monotonic()))
                answer = await self._attempt(method, path, content, told, left_s)
                if answer.is_success:
                    return answer
                error = problem_error(answer.status_code, answer.content)
                if isinstance(error, Unauthenticated) and not is_renewed:
                    is_renewed = True
                    if await self.credentials.renew(token):
                        continue
                is_unknown |= error.category is Category.OUTCOME_UNKNOWN
                at_least_s = (error.retry_after_ms or 0) / 1000
            except httpx.TransportError as exc:
                is_unknown |= writes and not isinstance(exc, _NOT_SENT)
                error = Unavailable(what="the gateway")
                error.__cause__ = exc
            except ObjectQLError as exc:  # of the credentials
                error = exc
            if not error.retryable:
                raise error
            wait_s = backoff.failed(at_least_s=at_least_s)
            if time.monotonic() + wait_s >= until:
                if is_unknown:
                    raise OutcomeUnknown from error
                raise error
            await asyncio.sleep(wait_s)

    async def _attempt(
        self,
        method: str,
        path: str,
        content: bytes | None,
        headers: Mapping[str, str],
        within_s: float,
    ) -> httpx.Response:
        told = {**headers, "X-Timeout-Ms": str(max(1, int(within_s * 1000)))}
        if content is not None:
            told["Content-Type"] = "application/json"
        return await self._http.request(
            method, path, content=content, headers=told, timeout=within_s + _MARGIN_S
        )


def _decoded(answer: httpx.Response) -> Any:
    if answer.status_code == HTTPStatus.NO_CONTENT or not answer.content:
        return None
    try:
        return msgspec.json.decode(answer.content)
    except msgspec.DecodeError as exc:
        raise Internal from exc
