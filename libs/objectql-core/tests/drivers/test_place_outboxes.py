"""Which databases of tenants are asked for events, by what a server counts."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from hypothesis import example, given
from hypothesis import strategies as st

from objectql.drivers.places import Place
from objectql.drivers.sql.postgres_place_databases import DatabasePlaces
from objectql.ids import TenantId
from objectql.testing.driver_samples import ACME

GLOBEX = TenantId("Globex-2")


class Statistics:
    """A server that counts what is inserted, and tells of it when it likes."""

    def __init__(self) -> None:
        self.told: dict[str, str | None] = {}

    async def connect(self) -> Statistics:  # noqa: RUF029 - a connection's shape
        return self

    async def fetch(self, _: str, names: list[str]) -> list[tuple[str, str | None]]:  # noqa: RUF029 - likewise
        return [(name, self.told[name]) for name in names if name in self.told]

    def is_closed(self) -> bool:
        return False


class Databases:
    """Databases of tenants on such a server; notes which are asked."""

    def __init__(self, *tenants: TenantId) -> None:
        self.statistics: Any = Statistics()
        self.places = DatabasePlaces(self.statistics, "app", self.read)
        self.asked: list[TenantId] = []
        self.pending = dict.fromkeys(tenants, 0)
        self.inserted = dict.fromkeys(tenants, 0)
        self.silent: set[TenantId] = set()
        self.gone: set[TenantId] = set()
        """Tenants that are known no longer, or not yet."""
        for tenant in self.pending:
            self.count(tenant)

    async def read(self, _: str) -> list[tuple[str]]:  # noqa: RUF029 - a driver's shape
        return [("installation",)]

    def count(self, tenant: TenantId) -> None:
        self.statistics.told[f"app~{tenant}"] = f"1 {self.inserted[tenant]}"

    def insert(self, tenant: TenantId) -> None:
        self.pending[tenant] += 1
        self.inserted[tenant] += 1

    async def waiting(self) -> frozenset[TenantId]:
        self.asked.clear()
        known = self.pending.keys() - self.gone
        drivers: Any = {tenant: Asked(self, tenant) for tenant in known}
        places = [Place(tenant, "database") for tenant in self.pending]
        return await self.places.waiting(places, drivers)


class Asked:
    """The driver of one tenant's database, as far as it is asked."""

    def __init__(self, databases: Databases, tenant: TenantId) -> None:
        self._databases = databases
        self._tenant = tenant

    @property
    def outbox(self) -> Self:
        return self

    async def pending(self, _: int) -> range:
        self._databases.asked.append(self._tenant)
        if self._tenant in self._databases.silent:
            await asyncio.Event().wait()
        return range(self._databases.pending[self._tenant])


async def test_database_is_asked_once_and_then_only_when_more_was_inserted() -> None:
    databases = Databases(ACME, GLOBEX)
    assert await databases.waiting() == frozenset()
    assert set(databases.asked) == {ACME, GLOBEX}
    assert await databases.waiting() == frozenset()
    assert databases.asked == []
    databases.insert(ACME)
    databases.count(ACME)
    for _ in range(2):  # until its outbox is empty
        assert await databases.waiting() == {ACME}
        assert databases.asked == [ACME]


async def test_every_database_is_asked_each_time_where_the_server_does_not_count() -> None:
    databases = Databases(ACME, GLOBEX)
    databases.statistics.told = dict.fromkeys(databases.statistics.told)
    for _ in range(2):
        assert await databases.waiting() == frozenset()
        assert set(databases.asked) == {ACME, GLOBEX}


async def test_database_that_is_not_there_is_not_asked() -> None:
    databases = Databases(ACME, GLOBEX)
    del databases.statistics.told[f"app~{ACME}"]
    databases.insert(ACME)
    assert await databases.waiting() == frozenset()
    assert databases.asked == [GLOBEX]


async def test_database_of_a_tenant_that_is_not_known_is_not_asked() -> None:
    databases = Databases(ACME, GLOBEX)
    databases.gone.add(ACME)
    for tenant in (ACME, GLOBEX):
        databases.insert(tenant)
    assert await databases.waiting() == {GLOBEX}


async def test_databases_that_do_not_answer_are_asked_again_after_the_others() -> None:
    silent = [TenantId(f"a{n}") for n in range(10)]  # more than are asked at once
    databases = Databases(*silent, ACME)
    databases.silent.update(silent)
    for tenant in (*silent, ACME):
        databases.insert(tenant)
    for _ in range(2):
        assert await databases.waiting() == {ACME}
    assert databases.asked[0] == ACME
    databases.silent.clear()
    assert await databases.waiting() == {*silent, ACME}


steps = st.lists(
    st.tuples(
        st.sampled_from(["insert", "count", "ask", "drain"]), st.sampled_from([ACME, GLOBEX])
    ),
    max_size=30,
)


@given(steps)
@example([("ask", ACME), ("insert", ACME), ("ask", ACME), ("count", ACME)])
@example([("insert", ACME), ("count", ACME), ("ask", ACME), ("drain", ACME)])
async def test_event_is_found_once_its_insert_was_counted_whatever_came_before(
    steps: list[tuple[str, TenantId]],
) -> None:
    databases = Databases(ACME, GLOBEX)
    for step, tenant in steps:
        if step == "insert":
            databases.insert(tenant)
        elif step == "count":
            databases.count(tenant)
        elif step == "drain":
            databases.pending[tenant] = 0
        else:
            await databases.waiting()
    for tenant in databases.pending:
        databases.count(tenant)
    assert await databases.waiting() == {t for t, count in databases.pending.items() if count}
