"""Whoever changes what is stored behind the system's back is found out, on every database."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.drivers.chains import Chain
from objectql.drivers.protocol import Driver
from objectql.drivers.sql.postgres import PostgresDriver
from objectql.drivers.sql.sqlite import SqliteDriver
from objectql.errors import InvalidRequest, PermissionDenied, TenantUnknown
from objectql.ids import TenantId
from objectql.kernel.audit import verify
from objectql.kernel.audit.sealer import Sealer
from objectql.kernel.kernel import Kernel
from objectql.wire.audit import AuditVerifyRequest

APP: dict[str, Any] = {
    "name": "ledger",
    "objects": {
        name: {"enable": {"trackHistory": True}, "fields": {"title": {"type": "text"}}}
        for name in ("asset", "booking")
    },
}
ASSETS = Chain("default", "history", "asset")


def who(*roles: str, tenant: str = "default", scopes: tuple[str, ...] | None = None) -> Context:
    return Context(
        actor=Actor(id="ann", roles=roles, tenant=TenantId(tenant), scopes=scopes),
        deadline_ms=SystemClock().now_ms() + 30_000,
        request_id="r",
    )


@pytest.fixture
async def kernel(driver: Driver) -> AsyncGenerator[Kernel]:
    kernel = Kernel([driver, APP])
    await kernel.start()
    yield kernel
    await kernel.stop()


async def seal(kernel: Kernel) -> None:
    driver = kernel.engine.system_driver
    await Sealer("default", driver.chains, driver.leases, holder="here").drain()


async def run(kernel: Kernel, statement: str, *params: object) -> None:
    """What an attacker with the database's password does."""
    [driver] = kernel.engine.shared.values()
    assert isinstance(driver, PostgresDriver | SqliteDriver)
    await driver.run(statement, *params)


async def verified(
    kernel: Kernel,
    context: Context | None = None,
    *,
    tenant: str | None = None,
    anchor: str | None = None,
) -> list[dict[str, Any]]:
    chains: list[dict[str, Any]] = []
    place = None
    while True:
        request = AuditVerifyRequest(tenant, anchor, place)
        reply = await kernel.audit.handle_verify(request, context or who("admin"))
        chains += json.loads(reply.chains)
        place = reply.place
        if place is None:
            return [chain for chain in chains if chain["chain"] != "security"]


async def history(kernel: Kernel, count: int = 5) -> None:
    """Some entries of two objects, sealed."""
    for number in range(count):
        await kernel.create("asset", {"id": f"a{number}", "title": "before"}, context=who("admin"))
        await kernel.create("booking", {"id": f"b{number}"}, context=who("admin"))
    await seal(kernel)


async def test_what_was_written_and_sealed_holds(kernel: Kernel) -> None:
    await history(kernel)
    await kernel.update("asset", "a1", {"title": "after"}, context=who("admin"))
    assets, bookings = await verified(kernel)
    assert (assets["chain"], assets["entries"], assets["unsealed"]) == (
        "history/asset",
        5,
        1,
    )
    assert (bookings["first"], bookings["last"], bookings["intact"]) == (1, 5, True)
    await seal(kernel)
    assets, _ = await verified(kernel)
    head = await kernel.engine.system_driver.chains.head(ASSETS)
    assert (assets["last"], assets["hash"], assets["unsealed"]) == (6, head.hash, 0)


ENTRY = "UPDATE oql_history SET {} WHERE record_id = 'a2'"
STRANGER = "UPDATE oql_history SET object = 'asset', sequence = {} WHERE record_id = 'b4'"
SWAP = "UPDATE oql_history SET position = -position WHERE record_id IN ('a2', 'a3')"

TAMPERINGS = {
    "an old value": (ENTRY.format("after = replace(after, 'before', 'behind')"), 3, "altered"),
    "who it was": (ENTRY.format("actor = 'bob'"), 3, "altered"),
    "from where": (ENTRY.format("origin = 'x'"), 3, "altered"),
    "when": (ENTRY.format("at = '2020'"), 3, "altered"),
    "the hash": (ENTRY.format("hash = 'x'"), 3, "altered"),
    "which record": (ENTRY.format("record_id = 'a9'"), 3, "altered"),
    "an entry away": ("DELETE FROM oql_history WHERE record_id = 'a2'", 3, "missing"),
    "the last away": ("DELETE FROM oql_history WHERE record_id = 'a4'", 5, "missing"),
    "all away": ("DELETE FROM oql_history WHERE object = 'asset'", 1, "missing"),
    "to another object": (ENTRY.format("object = 'other'"), 3, "missing"),
    "to another tenant": (ENTRY.format("tenant = 'other'"), 3, "missing"),
    "as if never sealed": (ENTRY.format("sequence = NULL"), 3, "missing"),
    "in another order": (SWAP, 3, "altered"),
    "one put behind": (STRANGER.format(6), 6, "altered"),
    "one put before": (STRANGER.format(-1), -1, "inserted"),
    "the head back": ("UPDATE oql_audit_chains SET sequence = 3", 4, "inserted"),
    "no head": ("DELETE FROM oql_audit_chains", 1, "inserted"),
    "the head's hash": ("UPDATE oql_audit_chains SET hash = 'x'", 5, "altered"),
    "as if purged": ("UPDATE oql_audit_chains SET purged_sequence = 2", 1, "inserted"),
}


on_tables = pytest.mark.parametrize(
    "driver", ["sqlite", pytest.param("postgres", marks=pytest.mark.servers)], indirect=True
)


@on_tables
@pytest.mark.parametrize("what", TAMPERINGS)
async def test_tampering_with_the_tables_is_found_at_its_place(kernel: Kernel, what: str) -> None:
    await history(kernel)
    statement, sequence, fault = TAMPERINGS[what]
    await run(kernel, statement)
    assets = (await verified(kernel))[0]
    assert assets["chain"] == "history/asset"
    assert not assets["intact"]
    assert (assets["broken"]["sequence"], assets["broken"]["fault"]) == (sequence, fault)
    if fault == "altered" and "head" not in what:
        assert assets["broken"]["entry"] is not None


async def test_a_head_kept_elsewhere_is_found_in_its_chain(kernel: Kernel) -> None:
    await history(kernel)
    kept = (await kernel.engine.system_driver.chains.head(ASSETS)).hash
    await kernel.update("asset", "a1", {"title": "after"}, context=who("admin"))
    await seal(kernel)
    assert [chain["anchored"] for chain in await verified(kernel, anchor=kept)] == [True, False]


@on_tables
async def test_a_chain_made_anew_is_found_by_its_anchor_alone(kernel: Kernel) -> None:
    await history(kernel)
    kept = (await kernel.engine.system_driver.chains.head(ASSETS)).hash
    await run(kernel, "UPDATE oql_history SET actor = 'bob', sequence = NULL, hash = NULL")
    await run(kernel, "DELETE FROM oql_audit_chains")
    await seal(kernel)
    chains = await verified(kernel, anchor=kept)
    assert [(chain["intact"], chain["anchored"]) for chain in chains] == [(True, False)] * 2


async def test_a_long_chain_is_followed_in_steps(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "STEP_ENTRIES", 3)
    monkeypatch.setattr(verify, "_PAGE", 2)
    await history(kernel)
    chains = await verified(kernel)
    assert [(chain["chain"], chain["entries"]) for chain in chains] == [
        ("history/asset", 5),
        ("history/booking", 5),
    ]
    request = AuditVerifyRequest()
    first = await kernel.audit.handle_verify(request, who("admin"))
    assert first.place is not None
    assert json.loads(first.chains) == []
    request = AuditVerifyRequest(place=first.place)
    with pytest.raises(InvalidRequest):
        await kernel.audit.handle_verify(request, who("admin", tenant="zoo"))
    with pytest.raises(InvalidRequest):
        await kernel.audit.handle_verify(AuditVerifyRequest(place=b"\x00"), who("admin"))


async def test_administrators_ask_about_their_own_and_operators_about_all(kernel: Kernel) -> None:
    await history(kernel, 1)
    assert await verified(kernel, who("admin", tenant="zoo")) == []
    assert len(await verified(kernel, who("admin", "system"), tenant="default")) == 2
    for context in (who("clerk"), who("admin", scopes=("account:read",))):
        with pytest.raises(PermissionDenied):
            await verified(kernel, context)
    for context in (who("admin"), who("system", tenant="zoo"), who("admin", tenant="zoo")):
        with pytest.raises(PermissionDenied):
            await verified(kernel, context, tenant="default")
    with pytest.raises(TenantUnknown):
        await verified(kernel, who("system"), tenant="nobody")


@on_tables
async def test_what_is_purged_while_it_is_followed_is_no_break(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_PAGE", 1)
    await history(kernel)
    chains = kernel.engine.system_driver.chains
    sealed = chains.sealed
    third = (await sealed(ASSETS, (3, 0), 1))[0]

    async def purge_meanwhile(*args: Any) -> Any:
        found = await sealed(*args)
        if found and found[0].sequence == 1 and found[0].chain == ASSETS:
            await run(kernel, "DELETE FROM oql_history WHERE object = 'asset' AND sequence <= 3")
            await run(
                kernel,
                "UPDATE oql_audit_chains SET purged_sequence = 3, purged_hash = $1"
                " WHERE object = 'asset'",
                third.hash,
            )
        return found

    monkeypatch.setattr(chains, "sealed", purge_meanwhile)
    assets = (await verified(kernel))[0]
    assert (assets["intact"], assets["first"], assets["last"]) == (True, 4, 5)
