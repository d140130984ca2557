"""`objectql cluster` on a running cluster."""

from __future__ import annotations

import asyncio

import pytest
from typer.testing import CliRunner

from objectql.cli.main import app
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
