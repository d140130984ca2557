"""Kernels whose tenants have fields and objects of their own, on every driver."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from objectql.clock import SystemClock
from objectql.context import SYSTEM_ROLE, Actor, Context
from objectql.drivers.memory import MemoryDriver
from objectql.drivers.protocol import Driver
from objectql.drivers.sql.sqlite import SqliteDriver, SqliteSettings
from objectql.errors import (
    MetadataInvalid,
)
from objectql.ids import TenantId, uuid7
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.kernel.tenancy import admin as tenant_admin
from objectql.wire.tenants import (
    TenantCreateRequest,
    TenantMetadataDeleteRequest,
    TenantMetadataPutRequest,
    TenantMetadataRequest,
    TenantPurgeRequest,
)

ACME, GLOBEX, PLAIN = TenantId("acme"), TenantId("globex"), TenantId("plain")
OPERATOR = Actor(id="op", roles=(SYSTEM_ROLE,))

APP: dict[str, Any] = {
    "name": "app",
    "objects": {
        "account": {
            "fields": {
                "name": {"type": "text", "required": True},
                "code": {"type": "text", "unique": True},
            },
            "enable": {"trackHistory": True},
        },
        "contact": {
            "fields": {
                "name": {"type": "text"},
                "account": {"type": "lookup", "reference": "account"},
            }
        },
    },
    "permissions": {
        "account": {"object": "account", "object_permissions": {"read": ["sales"]}},
    },
}


@pytest.fixture
def settings() -> KernelSettings:
    return KernelSettings(unknown_tenants="refuse")


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
def driver(
    request: pytest.FixtureRequest, tmp_path: Path, bare_postgres: Callable[[], Driver]
) -> Driver:
    if request.param == "memory":
        return MemoryDriver()
    if request.param == "sqlite":
        return SqliteDriver(SqliteSettings(str(tmp_path / "own.db")))
    return bare_postgres()


@pytest.fixture
async def kernel(
    driver: Driver, settings: KernelSettings, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Kernel]:
    monkeypatch.setattr(tenant_admin, "SETTLE_S", 0.0)
    kernel = Kernel([driver, APP], settings=settings)
    await kernel.start()
    for tenant in (ACME, GLOBEX, PLAIN):
        await register(kernel, tenant)
    yield kernel
    await kernel.stop()


def by(actor: Actor) -> Context:
    return Context(actor, SystemClock().now_ms() + 60_000, uuid7())


def of(tenant: TenantId, *roles: str) -> Context:
    return by(Actor(id="u1", tenant=tenant, roles=roles or ("admin",)))


async def register(kernel: Kernel, id: TenantId, isolation: str = "row") -> None:
    document = json.dumps({"id": id, "isolation": isolation}).encode()
    await kernel.tenancy.handle_create(TenantCreateRequest(document), by(OPERATOR))


async def give(
    kernel: Kernel, tenant: TenantId, name: str, document: dict[str, Any], type: str = "object"
) -> int:
    text = json.dumps(document).encode()
    request = TenantMetadataPutRequest(tenant, type, name, text)
    return (await kernel.tenancy.handle_metadata_put(request, by(OPERATOR))).version


async def fields(kernel: Kernel, tenant: TenantId, **kinds: Any) -> int:
    """Give `account` these fields, and no others."""
    documents = {k: {"type": v} if isinstance(v, str) else v for k, v in kinds.items()}
    return await give(kernel, tenant, "account", {"fields": documents})


async def take(kernel: Kernel, tenant: TenantId, name: str, type: str = "object") -> None:
    request = TenantMetadataDeleteRequest(tenant, type, name)
    await kernel.tenancy.handle_metadata_delete(request, by(OPERATOR))


async def described(kernel: Kernel, tenant: TenantId) -> dict[str, Any]:
    reply = await kernel.tenancy.handle_metadata(TenantMetadataRequest(tenant), by(OPERATOR))
    return json.loads(reply.body)


async def purge(kernel: Kernel, tenant: TenantId) -> list[str]:
    reply = await kernel.tenancy.handle_metadata_purge(TenantPurgeRequest(tenant), by(OPERATOR))
    return json.loads(reply.body)["purged"]


async def names(kernel: Kernel, tenant: TenantId, query: dict[str, Any]) -> list[str]:
    result = await kernel.find("account", query, context=of(tenant))
    return [row["name"] for row in result.value]


async def problems(kernel: Kernel, name: str, document: Any, type: str = "object") -> set[str]:
    with pytest.raises(MetadataInvalid) as caught:
        await give(kernel, ACME, name, document, type)
    return {f"{issue.path}: {issue.code}" for issue in caught.value.issues}
