"""A history that was begun before entries were chained is brought up to date when a kernel starts."""

from __future__ import annotations

from typing import Any

import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.drivers.protocol import Driver
from objectql.drivers.sql.postgres import PostgresDriver
from objectql.drivers.sql.postgres_walls import AS_OWNER
from objectql.drivers.sql.sqlite import SqliteDriver
from objectql.ids import TenantId
from objectql.kernel.audit.sealer import Sealer
from objectql.kernel.audit.verify import Verifier
from objectql.kernel.kernel import Kernel

DEFAULT = TenantId("default")
APP: dict[str, Any] = {
    "name": "ledger",
    "objects": {"asset": {"enable": {"trackHistory": True}, "fields": {"title": {"type": "text"}}}},
}
BEFORE = {
    "sqlite": "integer PRIMARY KEY AUTOINCREMENT",
    "postgres": "bigserial PRIMARY KEY",
}
"""The history as the first release that kept one made it, but for its position."""
COLUMNS = """event_id text NOT NULL, tenant text NOT NULL,
    object text NOT NULL, record_id text NOT NULL, kind text NOT NULL,
    version bigint NOT NULL, at text NOT NULL, actor text NOT NULL,
    request_id text NOT NULL, traceparent text NOT NULL, batch text NOT NULL,
    batch_size integer NOT NULL, before text, after text"""
ONE = """'{"title":"one"}'"""
TWO = """'{"title":"two"}'"""
ENTRY = """INSERT INTO oql_history (event_id, tenant, object, record_id, kind, version, at, actor,
    request_id, traceparent, batch, batch_size, before, after)
    VALUES ('{}', 'default', 'asset', 'a1', '{}', {}, '2026-03-01T10:00:00.000Z', 'ann',
    'r', '', '', 1, {}, {})"""


@pytest.mark.parametrize(
    "driver", ["sqlite", pytest.param("postgres", marks=pytest.mark.servers)], indirect=True
)
async def test_entries_of_before_are_kept_told_and_sealed(driver: Driver) -> None:
    assert isinstance(driver, PostgresDriver | SqliteDriver)
    await driver.connect()
    async with driver.begin() as session:
        if driver.kind == "postgres":
            await session.run(AS_OWNER)
        for table in ("oql_history", "oql_security_log", "oql_audit_chains"):
            await session.run(f"DROP TABLE {table}")
        await session.run(f"CREATE TABLE oql_history (position {BEFORE[driver.kind]}, {COLUMNS})")
        await session.run(ENTRY.format("e1", "created", 1, "NULL", ONE))
    await driver.close()

    for _ in range(2):  # a start that finds everything changes nothing
        kernel = Kernel([driver, APP])
        await kernel.start()
        await kernel.stop()
    kernel = Kernel([driver, APP])
    await kernel.start()
    # By a kernel of before, while the cluster is upgraded:
    await driver.run(ENTRY.format("e2", "updated", 2, ONE, TWO))
    context = Context(
        actor=Actor(id="ann", roles=("admin",), tenant=DEFAULT),
        deadline_ms=SystemClock().now_ms() + 30_000,
        request_id="r",
        origin="browser 203.0.113.7",
    )
    await kernel.create("asset", {"id": "a2"}, context=context)
    assert await Sealer("default", driver.chains, driver.leases, holder="here").drain() == 4
    (report, published), _ = await Verifier(kernel.engine).step(DEFAULT, None, None)
    assert (published.chain, published.intact, published.last) == ("security", True, 1)
    assert (report.chain, report.intact, report.last) == ("history/asset", True, 3)
    entries = await driver.history.of_record(DEFAULT, "asset", "a1", limit=9)
    assert [(event.id, event.origin) for _, event in entries] == [("e2", ""), ("e1", "")]
    ((_, new),) = await driver.history.of_record(DEFAULT, "asset", "a2", limit=9)
    assert new.origin == "browser 203.0.113.7"
    await kernel.stop()
