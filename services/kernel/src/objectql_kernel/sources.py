"""Data sources from their URLs."""

from __future__ import annotations

from collections.abc import Mapping

from objectql.drivers.memory import MemoryDriver
from objectql.drivers.pool import PoolManager, PoolSettings
from objectql.drivers.protocol import Driver
from objectql.drivers.sql.postgres import PostgresDriver, PostgresSettings
from objectql.drivers.sql.sqlite import SqliteDriver, SqliteSettings
from objectql.errors import InvalidRequest
from objectql.ids import DataSource
from objectql_kernel.settings import PoolLimits

DEFAULT = "default"


def open_sources(
    urls: Mapping[str, str], limits: PoolLimits, pools: PoolManager
) -> tuple[Driver, ...]:
    """One driver per data source, not yet connected; their pools share the bound of `pools`.

    Raises:
        InvalidRequest: there is no default source, or a URL of no known kind.
    """
    if DEFAULT not in urls:
        raise InvalidRequest(
            reason="set OQL_KERNEL_DATASOURCES__DEFAULT, for example to postgresql://…"
        )
    return tuple(_open(DataSource(name), url, limits, pools) for name, url in urls.items())


def _open(name: DataSource, url: str, limits: PoolLimits, pools: PoolManager) -> Driver:
    kind, _, rest = url.partition(":")
    match kind:
        case "postgresql" | "postgres":
            wanted = PoolSettings(
                min_size=limits.min_size,
                max_size=limits.max_size,
                acquire_timeout_s=limits.acquire_timeout_s,
                idle_timeout_s=limits.idle_timeout_s,
            )
            pool = pools.grant(name, wanted)
            driver = PostgresDriver(PostgresSettings(url=url, pool=pool), name=name)
            pools.register(driver.pool)
            return driver
        case "sqlite":
            return SqliteDriver(
                SqliteSettings(path=rest.removeprefix("//").removeprefix("/")), name=name
            )
        case "memory":
            return MemoryDriver(name=name)
        case _:
            reason = f'data source "{name}": "{kind}" is not one of postgresql, sqlite, memory'
            raise InvalidRequest(reason=reason)
