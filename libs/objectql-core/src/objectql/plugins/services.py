"""The service registry: what plugins offer to each other and to the kernel, by name."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Literal, TypeAlias

import msgspec

from objectql.errors import Issue, NotSupported, PluginInvalid

Lifecycle: TypeAlias = Literal["singleton", "transient", "scoped"]
Criticality: TypeAlias = Literal["required", "core", "optional"]


class _Service(msgspec.Struct):
    factory: Callable[[], object]
    lifecycle: Lifecycle
    criticality: Criticality
    instance: object = None
    is_made: bool = False


class ServiceRegistry:
    """Instances or factories by name."""

    def __init__(self) -> None:
        self._services: dict[str, _Service] = {}
        self._making: list[str] = []

    def register(
        self, name: str, instance: object, *, criticality: Criticality = "optional"
    ) -> None:
        """Offer `instance` under a new name.

        Raises:
            PluginInvalid: the name is taken; `replace` is the way to take it over.

        """
        self._add(name, _Service(lambda: instance, "singleton", criticality, instance, True))

    def register_factory(
        self,
        name: str,
        factory: Callable[[], object],
        *,
        lifecycle: Lifecycle = "singleton",
        criticality: Criticality = "optional",
    ) -> None:
        """Offer what `factory` makes: once, on each `get`, or once per scope."""
        self._add(name, _Service(factory, lifecycle, criticality))

    def replace(self, name: str, instance: object) -> None:
        """Put `instance` in the place of whatever has the name, if anything."""
        known = self._services.get(name)
        criticality: Criticality = known.criticality if known is not None else "optional"
        self._services[name] = _Service(lambda: instance, "singleton", criticality, instance, True)

    def has(self, name: str) -> bool:
        """Whether anything is offered under `name`."""
        return name in self._services

    def names(self) -> tuple[str, ...]:
        """All names, in order of registration."""
        return tuple(self._services)

    def get(self, name: str, scope: dict[str, object] | None = None) -> object:
        """The service; a scoped one lives in `scope`, which the caller owns.

        Raises:
            NotSupported: nothing is offered under the name.
            PluginInvalid: factories need each other in a circle.

        """
        service = self._services.get(name)
        if service is None:
            near = get_close_matches(name, self._services, n=1)
            hint = f' (is "{near[0]}" meant?)' if near else ""
            raise NotSupported(feature=f'the service "{name}"{hint}')
        if service.is_made:
            return service.instance
        if service.lifecycle == "scoped":
            if scope is None:
                raise NotSupported(feature=f'"{name}" outside a scope')
            if name not in scope:
                scope[name] = self._make(name, service)
            return scope[name]
        made = self._make(name, service)
        if service.lifecycle == "singleton":
            service.instance, service.is_made = made, True
        return made

    def _add(self, name: str, service: _Service) -> None:
        if name in self._services:
            issue = Issue(path=name, code="duplicate_service", message="the service is registered")
            raise PluginInvalid(issues=(issue,))
        self._services[name] = service

    def _make(self, name: str, service: _Service) -> object:
        if name in self._making:
            path = " → ".join([*self._making[self._making.index(name) :], name])
            raise PluginInvalid(issues=(Issue(path=name, code="service_cycle", message=path),))
        self._making.append(name)
        try:
            return service.factory()
        finally:
            self._making.pop()
