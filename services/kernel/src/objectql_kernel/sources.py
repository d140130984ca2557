"""Data sources from their URLs."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from objectql.drivers.memory import MemoryDriver
from objectql.drivers.pool import PoolManager, PoolSettings
from objectql.drivers.protocol import Driver
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.drivers.sql.postgres_access import PlaceLimits
from objectql.drivers.sql.postgres_replicas import ReplicaSettings
from objectql.drivers.sql.postgres_replicated import ReplicatedPostgresDriver
from objectql.drivers.sql.sqlite import SqliteDriver, SqliteSettings
from objectql.errors import InvalidRequest
from objectql.ids import DataSource
from objectql_kernel.settings import KernelSettings

DEFAULT = "default"


def open_sources(settings: KernelSettings, pools: PoolManager) -> tuple[Driver, ...]:
    """One driver per data source, not yet connected; their pools share the bound of `pools`.

    Raises:
        InvalidRequest: there is no default source, a URL of no known kind, or replicas of what
            cannot have any, or databases of tenants on what is no Postgres.
    """
    urls = settings.datasources
    if DEFAULT not in urls:
        raise InvalidRequest(
            reason="set OQL_KERNEL_DATASOURCES__DEFAULT, for example to postgresql://…"
        )
    for name in settings.replicas:
        if _kind(urls.get(name, "")) != "postgresql":
            raise InvalidRequest(reason=f'data source "{name}" is no Postgres: it has no replicas')
    server = settings.tenancy.database_server
    if server is not None and _kind(server) != "postgresql":
        raise InvalidRequest(reason="OQL_KERNEL_TENANCY__DATABASE_SERVER is no postgresql:// URL")
    return tuple(_open(DataSource(name), url, settings, pools) for name, url in urls.items())


def _kind(url: str) -> str:
    kind = url.partition(":")[0]
    return "postgresql" if kind == "postgres" else kind


def _open(name: DataSource, url: str, settings: KernelSettings, pools: PoolManager) -> Driver:
    match _kind(url):
        case "postgresql":
            return _open_postgres(name, url, settings, pools)
        case "sqlite":
            path = url.partition(":")[2].removeprefix("//").removeprefix("/")
            return SqliteDriver(SqliteSettings(path=path), name=name)
        case "memory":
            return MemoryDriver(name=name)
        case kind:
            reason = f'data source "{name}": "{kind}" is not one of postgresql, sqlite, memory'
            raise InvalidRequest(reason=reason)


def _open_postgres(
    name: DataSource, url: str, settings: KernelSettings, pools: PoolManager
) -> Driver:
    limits = settings.pool
    wanted = PoolSettings(
        min_size=limits.min_size,
        max_size=limits.max_size,
        acquire_timeout_s=limits.acquire_timeout_s,
        idle_timeout_s=limits.idle_timeout_s,
    )
    primary = PostgresSettings(
        url=url,
        pool=pools.grant(name, wanted),
        row_security=settings.tenancy.row_security,
        places=PlaceLimits(
            max_size=settings.tenancy.connections_per_place,
            max_total=settings.tenancy.place_connections,
            idle_timeout_s=settings.tenancy.place_idle_s,
        ),
        place_server=settings.tenancy.database_server,
    )
    replicas = _replicas(name, wanted, settings, pools)
    if not replicas:
        driver = PostgresDriver(primary, name=name)
    else:
        driver = ReplicatedPostgresDriver(primary, replicas, name=name)
        for pool in driver.replica_pools:
            pools.register(pool)
    pools.register(driver.pool)
    return driver


def _replicas(
    name: DataSource, wanted: PoolSettings, settings: KernelSettings, pools: PoolManager
) -> Mapping[str, ReplicaSettings]:
    """The replicas of a source by their names, which are also those of their pools."""
    lazily = msgspec.structs.replace(wanted, min_size=0)
    return {
        f"{name}-replica-{number}": ReplicaSettings(
            url,
            pools.grant(f"{name}-replica-{number}", lazily),
            settings.reads.max_lag_s,
        )
        for number, url in enumerate(settings.replicas.get(name, ()), start=1)
    }
