"""Kernels whose tenants have places of their own."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any, Protocol

import pytest

from objectql.clock import SystemClock
from objectql.context import SYSTEM_ROLE, Actor, Context
from objectql.drivers.memory import MemoryDriver
from objectql.drivers.places import PlaceKind
from objectql.drivers.protocol import Driver
from objectql.ids import TenantId
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.kernel.tenancy import admin as tenant_admin
from objectql.wire.tenants import (
    TenantCreateRequest,
    TenantGetRequest,
)

ACME, GLOBEX, SHARING = TenantId("acme"), TenantId("Globex-2"), TenantId("sharing")
OPERATOR = Actor(id="op", roles=(SYSTEM_ROLE,))

APP: dict[str, Any] = {
    "name": "app",
    "objects": {
        "account": {
            "fields": {
                "name": {"type": "text", "required": True},
                "code": {"type": "text", "unique": True},
                "number": {"type": "autonumber", "format": "A-{0}"},
            },
            "enable": {"trackHistory": True},
        },
        "contact": {
            "fields": {
                "name": {"type": "text"},
                "account": {
                    "type": "lookup", "reference": "account", "deleteBehavior": "cascade",
                },
            }
        },
    },
}  # fmt: skip


@pytest.fixture
def settings() -> KernelSettings:
    return KernelSettings(unknown_tenants="refuse")


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.servers)])
def driver(request: pytest.FixtureRequest, bare_postgres: Callable[[], Driver]) -> Driver:
    return MemoryDriver() if request.param == "memory" else bare_postgres()


@pytest.fixture
async def kernel(
    driver: Driver, settings: KernelSettings, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Kernel]:
    monkeypatch.setattr(tenant_admin, "SETTLE_S", 0.0)
    monkeypatch.setattr(tenant_admin, "RETRY_S", 0.0)
    kernel = Kernel([driver, APP], settings=settings)
    await kernel.start()
    yield kernel
    await kernel.stop()


def by(actor: Actor, key: str | None = None) -> Context:
    return Context(actor, SystemClock().now_ms() + 30_000, "r1", idempotency_key=key)


def of(tenant: TenantId, key: str | None = None) -> Context:
    return by(Actor(id="u1", tenant=tenant, roles=("admin",)), key)


async def register_as(isolation: str, kernel: Kernel, id: TenantId) -> dict[str, Any]:
    document = json.dumps({"id": id, "isolation": isolation}).encode()
    reply = await kernel.tenancy.handle_create(TenantCreateRequest(document), by(OPERATOR))
    return json.loads(reply.body)


class Register(Protocol):
    """Registers a tenant with a place of the kind that is tested."""

    async def __call__(self, kernel: Kernel, id: TenantId) -> dict[str, Any]: ...


@pytest.fixture(params=["schema", "database"])
def kind(request: pytest.FixtureRequest) -> PlaceKind:
    return request.param


@pytest.fixture
def register(kind: PlaceKind) -> Register:
    return partial(register_as, kind)


async def told_of(kernel: Kernel, id: TenantId) -> dict[str, Any]:
    return json.loads((await kernel.tenancy.handle_get(TenantGetRequest(id), by(OPERATOR))).body)


async def names(kernel: Kernel, tenant: TenantId, object: str = "account") -> list[str]:
    found = await kernel.find(object, {"order_by": "name"}, context=of(tenant))
    return [record["name"] for record in found.value]
