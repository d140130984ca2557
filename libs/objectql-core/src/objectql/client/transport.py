"""Requests to the REST gateway, sent again when that is safe, until the time is over."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import httpx
import msgspec

from objectql.client.backoff import Patience
from objectql.client.credentials import Credentials
from objectql.client.problems import problem_error
from objectql.client.repeating import Times, UnansweredError, repeated
from objectql.client.written import Written
from objectql.errors import Internal, OutcomeUnknown, Unavailable
from objectql.ids import uuid7

_TOKEN: Final = "Oql-Consistency-Token"  # noqa: S105 - the name of a header
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_MARGIN_S: Final = 1.0
"""How much longer than the server a client waits for what the server gives up on."""

_encode = msgspec.json.Encoder(decimal_format="number").encode


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

        async def attempt(token: str, within_s: float) -> httpx.Response:
            told = {**headers, "Authorization": f"Bearer {token}"}
            try:
                answer = await self._attempt(method, path, content, told, within_s)
            except httpx.TransportError as exc:
                raise UnansweredError(was_sent=not isinstance(exc, _NOT_SENT)) from exc
            if not answer.is_success:
                raise problem_error(answer.status_code, answer.content)
            return answer

        return await repeated(
            attempt,
            self.credentials,
            self.post,
            times=self._times,
            patience=self._patience,
            writes=writes,
        )

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
