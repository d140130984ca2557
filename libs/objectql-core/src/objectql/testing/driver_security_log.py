"""What the driver port promises about the security log, and what stores record in it."""

from __future__ import annotations

import msgspec
import pytest

from objectql.drivers.chains import Chain
from objectql.drivers.identity import Delete, Insert, Replace, User
from objectql.drivers.protocol import Driver
from objectql.drivers.security_log import EVERYTHING, SecurityEntry, SecurityFilter, SecurityKind
from objectql.drivers.stores import StoredItem
from objectql.drivers.tenants import Tenant
from objectql.drivers.webhooks import Webhook
from objectql.errors import UniqueViolation, WriteConflict
from objectql.testing.driver_samples import ACME, OBJECTS, ZOO

USER = User(tenant=ACME, id="u1", name="ann", created_ms=1, updated_ms=1)


def told(
    kind: SecurityKind = "user_created", *, tenant: str = ACME, actor: str = "root", hour: int = 1
) -> SecurityEntry:
    """An entry."""
    return SecurityEntry(
        tenant=tenant,
        kind=kind,
        at=f"2026-03-01T{hour:02}:00:00.000Z",
        actor=actor,
        origin="browser 203.0.113.7",
        request_id="r1",
        details={"id": "u1", "roles": ["a", "ä"], "n": None},
    )


async def kinds(driver: Driver, which: SecurityFilter = EVERYTHING) -> list[str]:
    """Of the entries of a tenant, the latest first."""
    found = await driver.security_log.page(ACME, which, limit=100)
    return [entry.kind for _, entry in found]


class SecurityLogPromises:
    """Entries are kept whole, read by page and by filter, and committed with what they tell of."""

    async def test_entries_are_told_as_they_were_recorded(self, driver: Driver) -> None:
        entries = [told(), told("user_deleted", tenant=ZOO), told("signed_in")]
        await driver.security_log.record(entries[:2])
        await driver.security_log.record(entries[2:])
        found = await driver.security_log.page(ACME, limit=100)
        assert [entry for _, entry in found] == [entries[2], entries[0]]
        assert await driver.security_log.page(ZOO, limit=1) == ((found[1][0] + 1, entries[1]),)

    async def test_pages_follow_each_other_by_position(self, driver: Driver) -> None:
        entries = [told(hour=hour) for hour in range(5)]
        await driver.security_log.record(entries)
        seen: list[SecurityEntry] = []
        before = None
        while page := await driver.security_log.page(ACME, limit=2, before=before):
            seen += [entry for _, entry in page]
            before = page[-1][0]
        assert seen == entries[::-1]

    async def test_filters_leave_what_equals_all_of_them(self, driver: Driver) -> None:
        await driver.security_log.record(
            [
                told("signed_in", hour=1),
                told("signed_in", hour=2, actor="bob"),
                told("signed_out", hour=3, actor="bob"),
            ]
        )
        assert await kinds(driver, SecurityFilter(kind="signed_in")) == ["signed_in"] * 2
        assert await kinds(driver, SecurityFilter(kind="signed_in", actor="bob")) == ["signed_in"]
        since, until = (f"2026-03-01T0{hour}:00:00.000Z" for hour in (2, 3))
        assert await kinds(driver, SecurityFilter(since=since)) == ["signed_out", "signed_in"]
        assert await kinds(driver, SecurityFilter(until=until)) == ["signed_in", "signed_in"]
        assert await kinds(driver, SecurityFilter(since=since, until=until)) == ["signed_in"]

    async def test_it_is_a_chain_of_each_tenant(self, driver: Driver) -> None:
        await driver.security_log.record([told(), told(tenant=ZOO)])
        chain = Chain(ACME, "security")
        assert await driver.chains.chains(ACME) == (chain,)
        one, two = await driver.chains.unsealed("security", 10)
        assert (one.chain, two.chain) == (chain, Chain(ZOO, "security"))
        assert await driver.chains.unsealed("security", 10, besides={chain}) == (two,)
        assert await driver.chains.count_unsealed(chain) == 1
        entry = (await driver.security_log.page(ACME, limit=1))[0][1]
        assert {entry.id, entry.at, entry.kind, entry.actor, entry.origin} < {*one.content}
        await driver.delete_tenant(ACME, OBJECTS)
        assert await driver.security_log.page(ACME, limit=9) == ()
        assert len(await driver.security_log.page(ZOO, limit=9)) == 1

    async def test_identities_are_changed_and_recorded_together_or_not_at_all(
        self, driver: Driver
    ) -> None:
        identity = driver.identity
        await identity.apply([Insert(USER)], record=[told()])
        assert await kinds(driver) == ["user_created"]
        with pytest.raises(UniqueViolation):
            await identity.apply([Insert(USER)], record=[told()])
        stale = User(tenant=ACME, id="u1", name="eve", version=7, created_ms=1, updated_ms=1)
        with pytest.raises(WriteConflict):
            await identity.apply([Replace(stale)], record=[told("user_changed")])
        assert await kinds(driver) == ["user_created"]
        await identity.apply([Delete(USER)], record=[told("user_deleted")])
        assert await kinds(driver) == ["user_deleted", "user_created"]

    async def test_tenants_are_changed_and_recorded_together_or_not_at_all(
        self, driver: Driver
    ) -> None:
        await driver.tenants.save(Tenant(ZOO), record=[told("tenant_created")])
        with pytest.raises(WriteConflict):
            await driver.tenants.save(Tenant(ZOO), record=[told("tenant_created")])
        assert await kinds(driver) == ["tenant_created"]

    async def test_metadata_are_published_and_recorded_together_or_not_at_all(
        self, driver: Driver
    ) -> None:
        item = StoredItem("custom", "view", "tasks", b"{}", 0, "")
        version = await driver.metadata.current_version()
        record = [told("metadata_published")]
        await driver.metadata.publish([item], [], expected_version=version, record=record)
        with pytest.raises(WriteConflict):
            await driver.metadata.publish([item], [], expected_version=version, record=record)
        assert await kinds(driver) == ["metadata_published"]

    async def test_webhooks_are_changed_and_recorded_together_or_not_at_all(
        self, driver: Driver
    ) -> None:
        store = driver.webhooks
        new = Webhook(id="w1", tenant=ACME, name="one", url="https://x.example/", objects=("o",))
        saved = await store.save(new, record=[told("webhook_created")])
        with pytest.raises(UniqueViolation):
            other = msgspec.structs.replace(new, id="w2")
            await store.save(other, record=[told("webhook_created")])
        with pytest.raises(WriteConflict):
            stale = msgspec.structs.replace(saved, version=7)
            await store.save(stale, record=[told("webhook_changed")])
        assert await kinds(driver) == ["webhook_created"]
        await store.replay("w1", 1, record=[told("webhook_replayed")])
        await store.remove(saved, record=[told("webhook_deleted")])
        assert await kinds(driver) == ["webhook_deleted", "webhook_replayed", "webhook_created"]
