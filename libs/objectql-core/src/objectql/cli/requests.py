"""One request of a command to a gateway."""

from __future__ import annotations

import json
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

_TIMEOUT_S: Final = 60.0


class Refused(ValueError):
    """The gateway cannot be reached, or says no; the text says why."""


def send(url: str, token: str, method: str, path: str, body: object = None) -> Any:
    """The decoded answer to one request; None where it has no body.

    Raises:
        Refused: no gateway, or not a success.

    """
    if not url.startswith(("http://", "https://")):
        raise Refused(f'"{url}" is not the URL of a gateway')
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = Request(url.rstrip("/") + path, data, headers, method=method)  # noqa: S310 - checked
    try:
        with urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - checked
            text = answer.read()
    except HTTPError as exc:
        raise Refused(_reason(exc)) from exc
    except (HTTPException, OSError) as exc:
        reason = exc.reason if isinstance(exc, URLError) else exc
        raise Refused(f"{url} cannot be reached: {reason}") from exc
    return json.loads(text) if text else None


def _reason(exc: HTTPError) -> str:
    try:
        problem = json.loads(exc.read())
        lines = [f"{problem['code']}: {problem['detail']}"]
        lines += [f"  {issue['path']}: {issue['message']}" for issue in problem["errors"]]
    except (ValueError, KeyError, TypeError):
        return f"the gateway answered {exc.code}"
    return "\n".join(lines)
