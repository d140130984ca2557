"""What one tenant asks with what it knows of another, and what may differ between two answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

import httpx

Known = Mapping[str, str]
"""Names of the placeholders in a request, `<account>`, to what stands for them."""

ASKS_FOR_ITSELF = {"object": "<object>", "id": "<id>"}
"""What stands in a path where an attempt says nothing else."""


@dataclass(frozen=True)
class Ask:
    """One request on a route, with placeholders.

    Attributes:
        path: Parameters of the route, where they are not those of `ASKS_FOR_ITSELF`.
        of: The objects it is repeated for: in turn they are `<object>`, with the record `<id>`.
        owner: What the tenant whose data it aims at is answered, which shows that the attempt is
            one: its data, a success, or a refusal (what is there already, what is the operator's).
        has_twin: Who asks has a record with the id of the one that is asked about.
    """

    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    path: Mapping[str, str] = field(default_factory=dict[str, str])
    of: tuple[str, ...] = ("account",)
    owner: Literal["sees", "may", "may not"] = "sees"
    has_twin: bool = False


class Seen(NamedTuple):
    """An answer without what differs between any two, such as its time."""

    status: int
    headers: list[tuple[str, str]]
    body: str


def placeholders(ask: Ask) -> frozenset[str]:
    """The names of all that `ask` has to know."""
    return frozenset(_PLACEHOLDER.findall(repr(ask)))


def fill(template: Any, known: Known) -> Any:
    """`template` with what is known; a list or mapping is filled all through."""
    if isinstance(template, str):
        return _PLACEHOLDER.sub(lambda found: known[found[1]], template)
    if isinstance(template, Mapping):
        items = cast("Mapping[str, Any]", template).items()
        return {fill(key, known): fill(value, known) for key, value in items}
    if isinstance(template, list):
        return [fill(value, known) for value in cast("list[Any]", template)]
    return template


def build(
    http: httpx.AsyncClient, method: str, pattern: str, ask: Ask, known: Known
) -> httpx.Request:
    """The request that `ask` is on a route, from the client `http`."""
    parameters = {**ASKS_FOR_ITSELF, **ask.path}
    path = re.sub(r"\{(\w+)\*?\}", lambda found: parameters[found[1]], pattern)
    return http.build_request(
        method,
        fill(path, known),
        params=fill(ask.query, known),
        headers=fill(ask.headers, known),
        json=None if ask.body is None else fill(ask.body, known),
    )


_PLACEHOLDER = re.compile(r"<([a-z_]+)>")
_UNGUESSABLE = 16
"""So long is what is made at random; what is shorter, such as `name`, stands everywhere."""
_OF_ONE_ANSWER = frozenset(
    {"date", "ratelimit", "server-timing", "x-request-id", "oql-consistency-token"}
)
_VARYING = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "(id)"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)", "(time)"),
    (r'"timings_ms":{[^}]*}', '"timings_ms":{}'),
)


def seen(answer: httpx.Response, known: Known) -> Seen:
    """What `answer` told, with placeholders for what the request was made of."""
    headers = [
        (name, "" if name in _OF_ONE_ANSWER else _general(value, known))
        for name, value in sorted(answer.headers.items())
        if name != "content-length"  # follows from the body, and a time may end in fewer digits
    ]
    return Seen(answer.status_code, headers, _general(answer.text, known))


def _general(text: str, known: Known) -> str:
    for name, value in known.items():
        if len(value) >= _UNGUESSABLE and not name.startswith("own_"):
            text = text.replace(value, f"<{name}>")
    for pattern, general in _VARYING:
        text = re.sub(pattern, general, text)
    return text
