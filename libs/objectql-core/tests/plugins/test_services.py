from __future__ import annotations

import pytest

from objectql.errors import NotSupported, PluginInvalid
from objectql.plugins.services import ServiceRegistry


def test_lifecycles_make_once_always_or_per_scope() -> None:
    services = ServiceRegistry()
    services.register_factory("single", object)
    services.register_factory("fresh", object, lifecycle="transient")
    services.register_factory("scoped", object, lifecycle="scoped")
    assert services.get("single") is services.get("single")
    assert services.get("fresh") is not services.get("fresh")
    scope: dict[str, object] = {}
    assert services.get("scoped", scope) is services.get("scoped", scope)
    assert services.get("scoped", {}) is not services.get("scoped", scope)
    with pytest.raises(NotSupported, match="outside a scope"):
        services.get("scoped")


def test_an_absent_service_is_named_and_suggested() -> None:
    services = ServiceRegistry()
    services.register("storage", 1)
    with pytest.raises(NotSupported, match='"storage" meant'):
        services.get("storag")


def test_a_name_is_taken_once_but_may_be_replaced() -> None:
    services = ServiceRegistry()
    services.register("cache", 1, criticality="core")
    with pytest.raises(PluginInvalid):
        services.register("cache", 2)
    services.replace("cache", 2)
    assert services.get("cache") == 2
    assert services.has("cache")
    assert services.names() == ("cache",)


def test_factories_that_need_each_other_are_a_cycle() -> None:
    services = ServiceRegistry()
    services.register_factory("a", lambda: services.get("b"))
    services.register_factory("b", lambda: services.get("a"))
    with pytest.raises(PluginInvalid, match="a → b → a"):
        services.get("a")
