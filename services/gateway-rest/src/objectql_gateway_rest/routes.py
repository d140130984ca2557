"""Paths to handlers: a trie of segments, literals before parameters.

A literal that lacks the method does not hide a parameter that has it: `GET /api/flight/query`
reads the record "query", `POST /api/flight/query` asks a query. `{object}` matches no reserved
name, so what is served at `/api/batch` is only what is routed there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeAlias

import msgspec

from objectql.errors import MethodNotAllowed, RouteUnknown
from objectql.ids import RESERVED_OBJECTS
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.problems import Surface

Handler: TypeAlias = Callable[..., Awaitable[Response]]
"""Called with the `Call` and the path's parameters, in order."""


class Route(msgspec.Struct, frozen=True):
    """One method on one path. `{name}` is a parameter, a final `{name*}` takes all that is left.

    `is_public` routes are answered without a token; those that are `by_address` are counted by the
    address that asks, as they are where credentials are tried.
    """

    method: str
    pattern: str
    handler: Handler
    surface: Surface = "api"
    is_public: bool = False
    by_address: bool = False

    @property
    def label(self) -> str:
        """Its name in metrics: one of as many as there are routes."""
        return f"{self.method} {self.pattern}"


class _Node:
    __slots__ = ("excluded", "literals", "parameter", "rest", "routes")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.rest: dict[str, Route] = {}
        self.routes: dict[str, Route] = {}
        self.excluded: frozenset[str] = frozenset()
        """What the parameter does not match."""


class Router:
    """Finds the route of a request."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Node()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        for part in route.pattern.split("/")[1:]:
            if part.endswith("*}"):
                node.rest[route.method] = route
                return
            if part.startswith("{"):
                if node.parameter is None:
                    node.parameter = _Node()
                if part == "{object}":
                    node.excluded = RESERVED_OBJECTS
                node = node.parameter
            else:
                node = node.literals.setdefault(part, _Node())
        if route.method in node.routes:
            raise ValueError(f"{route.method} {route.pattern} is routed twice")
        node.routes[route.method] = route

    def match(self, method: str, segments: list[str]) -> tuple[Route, tuple[str, ...]]:
        """The route and the values of its parameters. HEAD is GET without the body.

        Raises:
            RouteUnknown: nothing is served at the path.
            MethodNotAllowed: something is, with the methods that are allowed.

        """
        wanted = "GET" if method == "HEAD" else method
        found = _straight(self._root, wanted, segments)
        if found is not None:
            return found
        allowed: dict[str, None] = {}
        for routes, values in _candidates(self._root, segments, 0, ()):
            route = routes.get(wanted)
            if route is not None:
                return route, values
            allowed |= dict.fromkeys(routes)
        path = "/" + "/".join(segments)
        if not allowed:
            raise RouteUnknown(path=path)
        raise MethodNotAllowed(method=method, allowed=_with_implied(allowed))

    def allowed(self, segments: list[str]) -> tuple[str, ...]:
        """The methods of a path; none when nothing is served there."""
        found: dict[str, None] = {}
        for routes, _ in _candidates(self._root, segments, 0, ()):
            found |= dict.fromkeys(routes)
        return _with_implied(found) if found else ()


def _straight(
    node: _Node, method: str, segments: list[str]
) -> tuple[Route, tuple[str, ...]] | None:
    """The first of `_candidates` if it is reached without turning back, as almost all are."""
    values: list[str] = []
    for segment in segments:
        following = node.literals.get(segment)
        if following is None:
            following = node.parameter
            if following is None or not segment or segment in node.excluded:
                return None
            values.append(segment)
        node = following
    route = node.routes.get(method)
    return None if route is None else (route, tuple(values))


def _candidates(
    node: _Node, segments: list[str], at: int, values: tuple[str, ...]
) -> Iterator[tuple[dict[str, Route], tuple[str, ...]]]:
    if at == len(segments):
        if node.routes:
            yield node.routes, values
        return
    segment = segments[at]
    literal = node.literals.get(segment)
    if literal is not None:
        yield from _candidates(literal, segments, at + 1, values)
    if node.parameter is not None and segment and segment not in node.excluded:
        yield from _candidates(node.parameter, segments, at + 1, (*values, segment))
    if node.rest:
        yield node.rest, (*values, "/".join(segments[at:]))


def _with_implied(methods: Iterable[str]) -> tuple[str, ...]:
    found = set(methods) | {"OPTIONS"}
    if "GET" in found:
        found.add("HEAD")
    return tuple(sorted(found))
