"""Transactions over two databases, while kernels, coordinators and databases die at each step."""

from __future__ import annotations

from collections.abc import Generator

import httpx
import pytest
from tests.bank import BANK, ask_database, balances, open_accounts, prepared, transfer
from tests.clusters import client, eventually

from objectql_devstack.cluster import Cluster

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

KERNELS: dict[str, str] = {}
COORDINATORS = {"OQL_COORDINATOR_RECOVERY_EVERY_S": "0.3"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    running = Cluster(
        tmp_path_factory.mktemp("bank"),
        ports="free",
        kernels=2,
        counts={"coordinator": 2, "gateway-ws": 0},
        metadata=[BANK],
        ephemeral=True,
        databases=("objectql", "east", "west"),
        extra_env={"kernel": KERNELS, "coordinator": COORDINATORS},
    )
    with running:
        yield running


async def settled(cluster: Cluster, *, within_s: float) -> float:
    """How long it took until nothing was prepared any more."""

    async def is_settled() -> bool:
        return not await prepared(cluster)

    _, took_s = await eventually(is_settled, within_s=within_s, what="the end of all parts")
    return took_s


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
        assert answer.status_code == 422, answer.text
        assert await balances(http, "poor") == (10, 10)
        assert await prepared(cluster) == []
