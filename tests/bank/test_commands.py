"""`objectql cluster` on a running cluster."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import asyncpg  # noqa: TID251 - a part that nobody of ours has prepared
import httpx
import pytest
from typer.testing import CliRunner

from objectql.cli.main import app
from objectql.ids import uuid7
from tests.bank.bed import Bed
from tests.clusters import eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(120)]


async def cluster(bed: Bed, *words: str) -> tuple[int, list[str]]:
    """Exit code and lines of `objectql cluster …`."""
    result = await asyncio.to_thread(
        CliRunner().invoke, app, ["cluster", *words], env=bed.cluster.env
    )
    return result.exit_code, result.output.splitlines()


async def test_every_process_is_a_member(bed: Bed) -> None:
    async def all_ready() -> list[str] | None:
        _, lines = await cluster(bed, "members")
        ready = [line.split("  ")[0] for line in lines if "  ready  " in line]
        return ready if ready == sorted(bed.cluster.names) else None

    await eventually(all_ready, within_s=30, what="all members being ready")


async def test_every_source_is_well_until_its_wire_is_cut(bed: Bed) -> None:
    async def is_well() -> bool:
        return (await cluster(bed, "sources"))[0] == 0

    async def east_is_missed() -> bool:
        code, lines = await cluster(bed, "sources")
        at = next(n for n, line in enumerate(lines) if line.startswith("east  "))
        return code == 1 and "NOT WELL" in lines[at] and "not reached by" in lines[at + 1]

    await eventually(is_well, within_s=30, what="all sources being well")
    wire = bed.wires["east"]
    wire.is_refusing = True
    wire.drop()
    try:
        await eventually(east_is_missed, within_s=30, what="the source being missed")
    finally:
        wire.is_refusing = False
    await eventually(is_well, within_s=30, what="the source being well again")


async def test_the_leader_steps_down_by_command(bed: Bed) -> None:
    async def leader() -> str | None:
        code, lines = await cluster(bed, "leader")
        return None if code else lines[0]

    first, _ = await eventually(leader, within_s=30, what="a leader")
    code, lines = await cluster(bed, "step-down", "--token", "none")
    assert (code, lines[0].split(":")[0]) == (1, "UNAUTHENTICATED")
    code, lines = await cluster(bed, "step-down")
    assert code == 0, lines

    async def another() -> bool:
        now = await leader()
        return now is not None and now != first

    await eventually(another, within_s=30, what="another leader")


async def test_a_kernel_is_drained_without_a_failure_and_stays_until_it_is_ended(
    bed: Bed, api: httpx.AsyncClient
) -> None:
    stop = asyncio.Event()
    statuses: Counter[int] = Counter()

    async def write() -> None:
        while not stop.is_set():
            # No idempotency key: the gateway may not repeat, so a lost request would show.
            owner = f"Owner {statuses.total()}"  # no money: the bank is all tests' of this folder
            answer = await api.patch("/api/east_account/e60", json={"owner": owner})
            statuses[answer.status_code] += 1

    async def is_relayed_by_another() -> bool:
        return await bed.relay_of("east") not in {None, drained}

    drained, _ = await eventually(
        lambda: bed.relay_of("east"), within_s=30, what="a relay of the source"
    )
    writers = [asyncio.create_task(write()) for _ in range(4)]
    try:
        assert await cluster(bed, "drain", drained) == (0, [f"{drained} is drained"])
        port = bed.cluster.state.known_port(f"{drained}/admin")
        ready = await api.get(f"http://127.0.0.1:{port}/ready")
        live = await api.get(f"http://127.0.0.1:{port}/live")
        assert (ready.status_code, live.status_code) == (503, 200)
        await eventually(is_relayed_by_another, within_s=10, what="another relay")
        rest = next(n for n in bed.cluster.names if n.startswith("kernel-") and n != drained)
        code, lines = await cluster(bed, "drain", rest)
        assert (code, lines) == (1, ["INVALID_REQUEST: no other kernel is ready"])
        assert await cluster(bed, "drain", drained) == (0, [f"{drained} is drained"])
    finally:
        stop.set()
        await asyncio.gather(*writers)
        await asyncio.to_thread(bed.cluster.restart, drained)
    assert set(statuses) == {200}, statuses


async def test_a_leader_that_is_drained_is_followed_and_is_the_last_to_be_upgraded(
    bed: Bed,
) -> None:
    async def order() -> list[str]:
        _, lines = await cluster(bed, "upgrade-order")
        return [line.split("  ")[0] for line in lines]

    async def leader() -> str | None:
        code, lines = await cluster(bed, "leader")
        return None if code else lines[0].split("  ")[0]

    async def last_of_coordinators() -> str | None:
        names = await order()
        services = [name.rpartition("-")[0] for name in names]
        gateways = ["gateway-grpc", "gateway-rest", "gateway-ws"]
        expected = ["coordinator"] * 3 + ["kernel"] * 2 + gateways
        return names[2] if services == expected and names[2] == await leader() else None

    first, _ = await eventually(last_of_coordinators, within_s=30, what="the order")
    assert await cluster(bed, "drain", first) == (0, [f"{first} is drained"])

    async def another() -> bool:
        return await leader() not in {None, first}

    # Its pages have gone with its work: another coordinator has to be asked.
    await asyncio.to_thread(bed.cluster.restart, first)
    await eventually(another, within_s=30, what="another leader")


async def test_an_operator_gives_up_a_transaction_that_holds_its_locks(
    bed: Bed, api: httpx.AsyncClient
) -> None:
    async def epoch() -> str | None:
        code, lines = await cluster(bed, "leader")
        return None if code else lines[0].rpartition(" ")[2]

    async def listed() -> list[str]:
        code, lines = await cluster(bed, "transactions")
        return [] if code else [line for line in lines if id in line]

    async def is_ended() -> bool:
        found = await east.fetchval("SELECT count(*) FROM pg_prepared_xacts WHERE gid = $1", part)
        return not found and not await listed()

    leading, _ = await eventually(epoch, within_s=30, what="a leader")
    id, soon_ms = uuid7(), round(time.time() * 1000) + 60_000
    part = f"oql:{leading}:{soon_ms}:{id}:default:east"
    east = await asyncpg.connect(bed.cluster.data.pg_database_url("east"))
    try:
        await east.execute("SET ROLE objectql_rows")  # as kernels do
        await east.execute("SELECT set_config('oql.tenant', 'default', false)")
        await east.execute("BEGIN")
        await east.execute("UPDATE east_account SET balance = 0 WHERE id = 'e61'")
        await east.execute(f"PREPARE TRANSACTION '{part}'")
        lines, _ = await eventually(listed, within_s=20, what="the transaction being listed")
        assert "  undecided  " in lines[0]
        assert "  in east  tenant default" in lines[0]
        code, lines = await cluster(bed, "resolve", id, "commit")
        assert (code, lines[0].split(":")[0]) == (1, "INVALID_REQUEST")
        assert await cluster(bed, "resolve", id) == (0, [f"{id} is decided: abort"])
        code, lines = await cluster(bed, "resolve", id, "commit")
        assert (code, lines) == (
            1,
            [f"TRANSACTION_DECIDED: the transaction {id} is decided: abort"],
        )
        await eventually(is_ended, within_s=20, what="its part being rolled back")
        assert (await api.get("/api/east_account/e61")).json()["balance"] > 0
    finally:
        await east.close()
    log = await api.get("/api/admin/audit?kind=cluster_commanded&$top=3")
    told = [entry["details"] for entry in log.json()["items"]]
    assert {"command": "resolve", "parameters": {"id": id, "outcome": "abort"}} in told
