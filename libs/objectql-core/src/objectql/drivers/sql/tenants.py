"""`TenantStore` in `oql_tenants`: one document per tenant, one counter of all changes.

The metadata that tenants have of their own are apart, since every change of a tenant reads them all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from objectql.drivers.security_log import SecurityEntry
from objectql.drivers.sql.fragment import identifier
from objectql.drivers.sql.scope import TENANT, table_name
from objectql.drivers.sql.security_log import insert_entries
from objectql.drivers.sql.system import TENANT_TABLES, SystemRunner
from objectql.drivers.tenants import Tenant
from objectql.errors import WriteConflict
from objectql.ids import TenantId
from objectql.metadata.model import ObjectDef
from objectql.metadata.overlay import TenantMetadata

_COUNT = "UPDATE oql_tenants_state SET version = version + 1"
"""First in every change: its row lock serialises them, so that the counter misses none."""


class SqlTenantStore:
    """See `TenantStore`."""

    def __init__(self, runner: SystemRunner) -> None:
        self._runner = runner

    async def current_version(self) -> int:
        """See `TenantStore`."""
        rows = await self._runner.read("SELECT version FROM oql_tenants_state")
        return int(rows[0][0])

    async def load(self) -> tuple[int, tuple[Tenant, ...]]:
        """See `TenantStore`; one statement, so version and tenants belong together."""
        rows = await self._runner.read(
            """SELECT s.version, t.document FROM oql_tenants_state s
            LEFT JOIN oql_tenants t ON 1 = 1 ORDER BY t.id"""
        )
        tenants = [msgspec.json.decode(row[1], type=Tenant) for row in rows if row[1] is not None]
        return int(rows[0][0]), tuple(tenants)

    async def metadata_of(self, tenants: Collection[TenantId]) -> Mapping[TenantId, TenantMetadata]:
        """See `TenantStore`."""
        found: dict[TenantId, TenantMetadata] = {}
        for tenant in tenants:
            text = "SELECT document FROM oql_tenant_metadata WHERE tenant = $1"
            for row in await self._runner.read(text, tenant):
                found[tenant] = msgspec.json.decode(row[0], type=TenantMetadata)
        return found

    async def save(
        self,
        tenant: Tenant,
        *,
        record: Sequence[SecurityEntry] = (),
        metadata: TenantMetadata | None = None,
    ) -> Tenant:
        """See `TenantStore`."""
        saved = msgspec.structs.replace(tenant, version=tenant.version + 1)
        document = msgspec.json.encode(saved)
        async with self._runner.transaction() as runner:
            await runner.run(_COUNT)
            if tenant.version == 0:
                done = await runner.run(
                    """INSERT INTO oql_tenants (id, version, document) VALUES ($1, 1, $2)
                    ON CONFLICT DO NOTHING RETURNING 1""",
                    *(tenant.id, document),
                )
            else:
                done = await runner.run(
                    """UPDATE oql_tenants SET version = version + 1, document = $3
                    WHERE id = $1 AND version = CAST($2 AS bigint) RETURNING 1""",
                    *(tenant.id, tenant.version, document),
                )
            if not done:
                raise WriteConflict
            if metadata is not None:
                await runner.run(
                    """INSERT INTO oql_tenant_metadata (tenant, document) VALUES ($1, $2)
                    ON CONFLICT (tenant) DO UPDATE SET document = excluded.document""",
                    *(tenant.id, msgspec.json.encode(metadata)),
                )
            await insert_entries(runner, record)
        return saved

    async def remove(self, tenant: TenantId) -> None:
        """See `TenantStore`."""
        async with self._runner.transaction() as runner:
            await runner.run(_COUNT)
            await runner.run("DELETE FROM oql_tenants WHERE id = $1", tenant)
            await runner.run("DELETE FROM oql_tenant_metadata WHERE tenant = $1", tenant)


def column_clearing(object_: ObjectDef, columns: Sequence[str]) -> str:
    """The statement that empties `columns` in the records of the tenant `$1`."""
    names = [identifier(column) for column in columns]
    sets = ", ".join(f"{name} = NULL" for name in names)
    where = " OR ".join(f"{name} IS NOT NULL" for name in names)
    table = identifier(table_name(object_))
    return f"UPDATE {table} SET {sets} WHERE {TENANT} = $1 AND ({where})"  # noqa: S608


def any_record(objects: Sequence[ObjectDef]) -> str:
    """The query that answers a row if the tenant `$1` has a record of any of the objects."""
    return " UNION ALL ".join(
        f"SELECT 1 WHERE EXISTS (SELECT 1 FROM {identifier(table_name(object_))} WHERE {TENANT} = $1)"  # noqa: S608
        for object_ in objects
    )


def tenant_deletions(
    objects: Sequence[ObjectDef], system_tables: Sequence[str] = TENANT_TABLES
) -> Iterator[str]:
    """The statements that delete all of the tenant `$1`.

    Their order does not follow the lookups, so foreign keys must be deferred.
    """
    for object_ in objects:
        yield f"DELETE FROM {identifier(table_name(object_))} WHERE {TENANT} = $1"  # noqa: S608
    for table in system_tables:
        yield f"DELETE FROM {table} WHERE tenant = $1"  # noqa: S608
    if "oql_webhooks" in system_tables:  # kernels know webhooks by the version of them all
        yield """UPDATE oql_webhooks_state SET version = version + 1
            WHERE CAST($1 AS text) IS NOT NULL"""
