"""Transactions over two databases, while kernels, coordinators and databases die at each step."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator
from random import Random
from urllib.parse import urlsplit

import asyncpg  # noqa: TID251 - prepares what nobody decides
import httpx
import pytest
from tests.clusters import client, eventually
from tests.proxies import Proxy
from tests.transfers import BANK, SOURCES, ask_database, balances, open_accounts, prepared, transfer

from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

KERNELS: dict[str, str] = {}
COORDINATORS = {"OQL_COORDINATOR_RECOVERY_EVERY_S": "0.3"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    running = Cluster(
        tmp_path_factory.mktemp("bank"),
        ports="free",
        kernels=1,
        counts={"coordinator": 2, "gateway-ws": 0},
        metadata=[BANK],
        ephemeral=True,
        databases=("objectql", "east", "west"),
        extra_env={"kernel": KERNELS, "coordinator": COORDINATORS},
    )
    with running:
        yield running


async def settled(cluster: Cluster, *, within_s: float) -> None:
    """Return when nothing is prepared any more."""

    async def is_settled() -> bool:
        return not await prepared(cluster)

    await eventually(is_settled, within_s=within_s, what="the end of all parts")


async def state_of(http: httpx.AsyncClient, id: str) -> str:
    answer = await http.get(f"/api/transactions/{id}")
    return str(answer.json().get("state")) if answer.status_code == 200 else answer.text


async def leads(http: httpx.AsyncClient, name: str) -> None:
    """Return when transactions can be decided; makes the accounts called `name`."""
    await open_accounts(http, name)

    async def is_decided() -> bool:
        return (await transfer(http, name, 0)).status_code == 200

    await eventually(is_decided, within_s=20, what="a coordinator that decides")


async def test_a_transfer_is_in_force_in_both_databases_when_it_is_answered(
    cluster: Cluster,
) -> None:
    async with client(cluster.env) as http:
        await leads(http, "plain")
        answer = await transfer(http, "plain", 30)
        assert answer.status_code == 200, answer.text
        assert [r["balance"] for r in answer.json()["results"]] == [70, 130]
        told = answer.json()["transaction"]
        assert told["state"] == "committed"
        assert await balances(http, "plain") == (70, 130)
        status = (await http.get(f"/api/transactions/{told['id']}")).json()
        assert status == {**told, "sources": ["east", "west"]}
        assert await prepared(cluster) == []
        events = [
            (await ask_database(cluster, s, "SELECT version FROM oql_outbox ORDER BY position"))[-1]
            for s in ("east", "west")
        ]
        assert [event[0] for event in events] == [2, 2]


async def test_what_one_database_refuses_is_done_in_neither(cluster: Cluster) -> None:
    async with client(cluster.env) as http:
        await open_accounts(http, "poor", 10)
        answer = await transfer(http, "poor", 11)
        assert answer.status_code == 400, answer.text
        assert await balances(http, "poor") == (10, 10)
        assert await prepared(cluster) == []


async def rearm(cluster: Cluster, service: str, *failpoints: str) -> None:
    """Start all processes of a service anew, with these failpoints and no others."""
    env = KERNELS if service == "kernel" else COORDINATORS
    env.pop(f"OQL_{service.upper()}_FAILPOINTS", None)
    if failpoints:
        env[f"OQL_{service.upper()}_FAILPOINTS"] = ",".join(failpoints)
    names = [name for name in cluster.names if name.startswith(service)]
    await asyncio.gather(*(asyncio.to_thread(cluster.restart, name) for name in names))
    async with client(cluster.env) as http:
        await knows_who_leads(http)


async def knows_who_leads(http: httpx.AsyncClient) -> None:
    """Return when every kernel finds a coordinator that leads: only then is an unknown id unknown."""

    async def is_unknown() -> bool:
        answer = await http.get("/api/transactions/00000000-0000-7000-8000-000000000000")
        return answer.status_code == 404

    for _ in range(10):
        await eventually(is_unknown, within_s=20, what="a leader known to kernels")


async def test_what_a_dead_kernel_prepared_and_nobody_decided_is_given_up(
    cluster: Cluster,
) -> None:
    async with client(cluster.env) as http:
        await leads(http, "undecided")
        await rearm(cluster, "kernel", "after_prepare")
        answer = await transfer(http, "undecided", 30, key="undecided", timeout_ms=1500)
        assert answer.status_code == 503, answer.text
        assert len(await prepared(cluster)) == 2
        await rearm(cluster, "kernel")
        await settled(cluster, within_s=20)  # its deadline, and the grace after it
        assert await balances(http, "undecided") == (100, 100)

        again = await transfer(http, "undecided", 30, key="undecided")
        assert again.status_code == 200, again.text
        assert await balances(http, "undecided") == (70, 130)


async def test_what_was_decided_is_done_though_the_kernel_died_between_its_commits(
    cluster: Cluster,
) -> None:
    failpoint = "after_first_commit"
    async with client(cluster.env) as http:
        await leads(http, failpoint)
        await rearm(cluster, "kernel", failpoint)
        answer = await transfer(http, failpoint, 30, key=failpoint, timeout_ms=2000)
        assert answer.status_code == 503, answer.text
        await rearm(cluster, "kernel")
        await settled(cluster, within_s=15)
        assert await balances(http, failpoint) == (70, 130)

        again = await transfer(http, failpoint, 30, key=failpoint)
        assert again.status_code == 200, again.text
        assert again.json()["transaction"]["state"] == "committed"
        assert await balances(http, failpoint) == (70, 130)
        assert await state_of(http, again.json()["transaction"]["id"]) == "committed"


@pytest.mark.parametrize("failpoint", ["before_decision", "after_record"])
async def test_a_transfer_has_one_outcome_though_the_coordinator_died(
    cluster: Cluster, failpoint: str
) -> None:
    async with client(cluster.env) as http:
        await leads(http, failpoint)
        await rearm(cluster, "coordinator", failpoint)
        asked = asyncio.create_task(transfer(http, failpoint, 30, key=failpoint, timeout_ms=12_000))

        async def has_died() -> bool:
            return bool(cluster.ended())

        await eventually(has_died, within_s=20, what="the coordinator dying")
        await rearm(cluster, "coordinator")
        answer = await asked
        await settled(cluster, within_s=20)
        found = await balances(http, failpoint)
        assert found in {(100, 100), (70, 130)}
        if failpoint == "after_record" or answer.status_code in {200, 202}:  # it was decided
            assert found == (70, 130), answer.text

        again = await transfer(http, failpoint, 30, key=failpoint)
        assert again.status_code == 200, again.text
        assert await balances(http, failpoint) == (70, 130)


async def test_a_database_that_is_away_keeps_a_transfer_in_doubt_until_it_is_back(
    cluster: Cluster,
) -> None:
    far = urlsplit(cluster.data.pg_database_url("west"))
    with Proxy() as wire:
        wire.target = far.port
        KERNELS["OQL_KERNEL_DATASOURCES__WEST"] = far._replace(
            netloc=f"{far.username}@127.0.0.1:{wire.port}"
        ).geturl()
        await rearm(cluster, "kernel")
        async with client(cluster.env) as http:
            await leads(http, "far")
            coordinators = [name for name in cluster.names if name.startswith("coordinator")]
            for name in coordinators:
                cluster.freeze(name)
            asked = asyncio.create_task(transfer(http, "far", 30, key="far", timeout_ms=2500))

            async def is_prepared() -> bool:
                return len(await prepared(cluster)) == len(SOURCES)

            await eventually(is_prepared, within_s=10, what="both parts being prepared")
            wire.is_cut = True
            for name in coordinators:
                cluster.thaw(name)
            answer = await asked
            assert answer.status_code == 202, answer.text
            told = answer.json()["transaction"]
            assert told["state"] == "in_doubt"
            assert answer.headers["location"] == f"/api/transactions/{told['id']}"

            wire.is_cut = False
            states = {told["state"]}

            async def is_committed() -> bool:
                states.add(await state_of(http, told["id"]))
                return "committed" in states

            await eventually(is_committed, within_s=30, what="the commit")
            assert await state_of(http, told["id"]) == "committed"
            assert await balances(http, "far") == (70, 130)
        del KERNELS["OQL_KERNEL_DATASOURCES__WEST"]
        await rearm(cluster, "kernel")


async def test_recovery_never_ends_what_is_at_work(cluster: Cluster) -> None:
    """Transfers in both directions between few accounts, so that they wait for each other too."""
    codes: Counter[str] = Counter()
    names = ["busy0", "busy1", "busy2"]
    async with client(cluster.env) as http:
        for name in names:
            await leads(http, name)

        async def work(worker: int) -> None:
            random = Random(worker)
            for _ in range(12):
                amount = random.choice([-1, 1])
                answer = await transfer(http, random.choice(names), amount)
                codes[answer.json().get("code", str(answer.status_code))] += 1

        await asyncio.gather(*map(work, range(8)))
        assert codes["200"] > 80, codes
        assert not codes["TRANSACTION_ABORTED"], codes
        found = [await balances(http, name) for name in names]
        assert [sum(pair) for pair in found] == [200, 200, 200]
        assert await prepared(cluster) == []


async def test_an_orphan_is_found_and_rolled_back_and_others_parts_are_left_alone(
    cluster: Cluster,
) -> None:
    orphan = "oql:0:1:k:00000000-0000-7000-8000-000000000000:default:east"
    async with client(cluster.env) as http:
        await open_accounts(http, "orphan")
    change = "UPDATE east_account SET balance = 0 WHERE id = 'orphan'"
    connection = await asyncpg.connect(cluster.data.pg_database_url("east"))
    try:
        await connection.execute("SET ROLE objectql_rows")  # as kernels do
        await connection.execute("SELECT set_config('oql.tenant', 'default', false)")
        for name in ("somebody-elses", orphan):
            await connection.execute("BEGIN")
            if name == orphan:
                await connection.execute(change)
            await connection.execute(f"PREPARE TRANSACTION '{name}'")

        async def is_gone() -> bool:
            return await prepared(cluster) == ["somebody-elses"]

        await eventually(is_gone, within_s=10, what="the end of the orphan alone")
    finally:
        await connection.execute("ROLLBACK PREPARED 'somebody-elses'")
        await connection.close()
    async with client(cluster.env) as http:
        assert await balances(http, "orphan") == (100, 100)
