"""Where callers call from: the class of their program and their address, for the audit."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from objectql.service.addresses import Proxies
from objectql_gateway_rest.asgi import Request

_CLASSES: Final = (
    ("bot", ("bot", "crawl", "spider")),
    ("browser", ("mozilla/",)),
    ("command", ("curl/", "wget/", "httpie/")),
)
"""The first one counts of whose words one is in the `User-Agent`; all else is a `program`."""

_KNOWN: Final = 120
"""Characters of a `User-Agent` that are looked at."""


def origin_of(request: Request, proxies: Proxies) -> str:
    """As `browser 203.0.113.7`; see `Context`."""
    agent = agent_class(request.headers.get("user-agent", "")[:_KNOWN])
    return f"{agent} {request.client(proxies)}"


@lru_cache(maxsize=1024)
def agent_class(user_agent: str) -> str:
    """`browser`, `bot`, `command`, `program`, or `none` where the caller does not say."""
    told = user_agent.lower()
    if not told:
        return "none"
    for name, words in _CLASSES:
        if any(word in told for word in words):
            return name
    return "program"
