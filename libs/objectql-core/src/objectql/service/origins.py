"""Where callers call from: the class of their program and their address, for the audit."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_CLASSES: Final = (
    ("bot", ("bot", "crawl", "spider")),
    ("browser", ("mozilla/",)),
    ("command", ("curl/", "wget/", "httpie/")),
)
"""The first one counts of whose words one is in the `User-Agent`; all else is a `program`."""

_KNOWN: Final = 120
"""Characters of a `User-Agent` that are looked at."""


def origin(user_agent: str, address: str) -> str:
    """As `browser 203.0.113.7`; see `Context`."""
    return f"{agent_class(user_agent[:_KNOWN])} {address}"


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
