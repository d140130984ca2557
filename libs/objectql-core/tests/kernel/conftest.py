"""A small sales application on each driver, and callers with roles."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg  # noqa: TID251 - makes databases for the tests
import pytest

from objectql.clock import SystemClock
from objectql.context import DEFAULT_TENANT, Actor, Context
from objectql.drivers.memory import MemoryDriver
from objectql.drivers.pool import PoolSettings
from objectql.drivers.protocol import Driver
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.drivers.sql.sqlite import SqliteDriver, SqliteSettings
from objectql.ids import DataSource, TenantId
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.testing.databases import drop_database
from objectql_devstack import DataStack

OBJECTS: dict[str, Any] = {
    "account": {
        "fields": {
            "name": {"type": "text", "required": True, "searchable": True},
            "code": {"type": "text", "unique": True, "external_id": True},
            "balance": {"type": "number", "scale": 0, "defaultValue": 0},
            "stage": {"type": "select", "options": ["new", "won", "lost"], "defaultValue": "new"},
            "score": {"type": "number", "readonly": True},
        },
        "actions": {
            "promote": {"type": "record", "params": {"by": {"type": "number", "required": True}}},
            "sweep": {"type": "global", "transaction": True},
        },
    },
    "contact": {
        "fields": {
            "name": {"type": "text", "required": True},
            "account": {
                "type": "lookup", "reference": "account", "deleteBehavior": "set_null",
            },
        }
    },
    "invoice": {
        "fields": {
            "number": {"type": "autonumber", "format": "INV-{YYYY}-{0000}"},
            "account": {
                "type": "lookup", "reference": "account", "deleteBehavior": "restrict",
            },
            "total": {"type": "number"},
        },
        "validation": {
            "rules": [
                {
                    "name": "positive",
                    "type": "cross_field",
                    "rule": {"field": "total", "operator": ">=", "value": 0},
                    "message": "Total must not be negative",
                }
            ]
        },
    },
    "line": {
        "fields": {
            "invoice": {"type": "master_detail", "reference": "invoice", "required": True},
            "title": {"type": "text"},
        }
    },
}  # fmt: skip

PERMISSIONS: dict[str, Any] = {
    "account": {
        "object": "account",
        "roles": ["sales", "viewer"],
        "object_permissions": {
            "create": ["sales"],
            "read": ["sales", "viewer"],
            "update": ["sales"],
            "delete": [],
        },
    }
}

CRM: dict[str, Any] = {"name": "crm", "objects": OBJECTS, "permissions": PERMISSIONS}


def caller(
    *roles: str, key: str | None = None, id: str = "u1", tenant: TenantId = DEFAULT_TENANT
) -> Context:
    """A request of somebody with these roles, thirty seconds before its deadline."""
    return Context(
        actor=Actor(id=id, tenant=tenant, roles=roles),
        deadline_ms=SystemClock().now_ms() + 30_000,
        request_id="r1",
        idempotency_key=key,
    )


@pytest.fixture
def ask() -> Callable[..., Context]:
    return caller


_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database in which a kernel has made its tables."""
    with DataStack.start(tmp_path_factory.mktemp("postgres"), {"postgres"}) as stack:
        url = f"{stack.pg_url.rpartition('/')[0]}/kernel_template"

        async def prepare() -> None:
            admin = await asyncpg.connect(stack.pg_url)
            await admin.execute("CREATE DATABASE kernel_template")
            await admin.close()
            kernel = Kernel([PostgresDriver(PostgresSettings(url)), CRM])
            await kernel.start()
            await kernel.stop()

        asyncio.run(prepare())
        yield url


async def fresh_database(template: str, of: str) -> str:
    """The URL of a copy of the database `of` on the template's server."""
    head = template.rpartition("/")[0]
    name = f"kernel_{next(_numbers)}"
    admin = await asyncpg.connect(f"{head}/postgres")
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {of} STRATEGY wal_log")
    await admin.close()
    return f"{head}/{name}"


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.servers)])
def driver(
    request: pytest.FixtureRequest, tmp_path: Path, make_postgres: Callable[[str], Driver]
) -> Driver:
    """Every promise of the kernel holds on every driver."""
    if request.param == "memory":
        return MemoryDriver()
    if request.param == "sqlite":
        return SqliteDriver(SqliteSettings(str(tmp_path / "kernel.db")))
    return make_postgres("kernel_template")


@pytest.fixture
def bare_postgres(make_postgres: Callable[[str], Driver]) -> Callable[[], Driver]:
    """Makes a driver of a database that nobody has used."""
    return lambda: make_postgres("template0")


@pytest.fixture
def make_postgres(request: pytest.FixtureRequest) -> Iterator[Callable[..., Driver]]:
    """Makes a driver of a copy of the database that is named; copies are dropped afterwards."""
    made: list[str] = []

    def make(of: str, name: str = "default") -> Driver:
        url = asyncio.run(fresh_database(request.getfixturevalue("postgres_template"), of))
        made.append(url)
        settings = PostgresSettings(url, pool=PoolSettings(min_size=1, max_size=6))
        return PostgresDriver(settings, name=DataSource(name))

    yield make
    for url in made:
        asyncio.run(drop_database(url))


@pytest.fixture
def settings() -> KernelSettings:
    return KernelSettings()


@pytest.fixture
async def kernel(driver: Driver, settings: KernelSettings) -> AsyncGenerator[Kernel]:
    kernel = Kernel([driver, CRM], settings=settings)
    await kernel.start()
    yield kernel
    await kernel.stop()
