"""The interfaces that the first milestone names: every operation, under its Python name."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from objectql.drivers.memory import MemoryDriver
from objectql.errors import (
    KernelNotStarted,
    MetadataNotFound,
    ObjectUnknown,
    RecordNotFound,
    ValidationFailed,
)
from objectql.kernel.kernel import Kernel, QueryResult
from objectql.kernel.protocol import RuntimeProtocol
from objectql.wire.messages import BatchOperation, BatchRequest

KERNEL = {
    "start": (), "stop": (), "seed": (), "batch": ("request",),
    "find": ("object", "query"), "get": ("object", "id"), "create": ("object", "data"),
    "update": ("object", "id", "data"), "delete": ("object", "id"),
}  # fmt: skip
KERNEL_METADATA = {"get_metadata": ("object",), "get_view": ("object", "type")}
PROTOCOL = {
    "find_data": ("object", "query"), "get_data": ("object", "id"),
    "create_data": ("object", "data"), "update_data": ("object", "id", "data"),
    "delete_data": ("object", "id"), "execute_action": ("reference", "params"),
}  # fmt: skip
PROTOCOL_METADATA = {
    "get_meta_types": (), "get_meta_item": ("type", "name"), "list_meta_items": ("type",),
}  # fmt: skip

ACTION = """
async def launch(ctx):
    changed = await ctx.api.update("ship", ctx.id, {"crew": ctx.input["crew"]})
    return {"name": changed["name"], "crew": changed["crew"]}
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "package.yml").write_text("name: fleet\nversion: 1.0.0\n")
    (tmp_path / "ship.object.yml").write_text(
        "fields:\n"
        "  name: {type: text, required: true, searchable: true}\n"
        "  crew: {type: int, min: 1}\n"
        "actions:\n"
        "  launch: {type: record, params: {crew: {type: int, required: true}}}\n"
    )
    (tmp_path / "ship.action.py").write_text(ACTION)
    (tmp_path / "ship.data.yml").write_text("- {id: beagle, name: Beagle, crew: 74}\n")
    return tmp_path


@pytest.fixture
async def fleet(package: Path) -> AsyncGenerator[Kernel]:
    kernel = Kernel([MemoryDriver(), package])
    await kernel.start()
    yield kernel
    await kernel.stop()


@pytest.mark.parametrize(
    ("owner", "operations", "is_async"),
    [
        (Kernel, KERNEL, True),
        (Kernel, KERNEL_METADATA, False),
        (RuntimeProtocol, PROTOCOL, True),
        (RuntimeProtocol, PROTOCOL_METADATA, False),
    ],
)
def test_every_operation_of_the_milestone_is_there(
    owner: type, operations: dict[str, tuple[str, ...]], is_async: bool
) -> None:
    for name, wanted in operations.items():
        method = getattr(owner, name)
        assert inspect.iscoroutinefunction(method) is is_async, name
        given = tuple(
            parameter.name
            for parameter in inspect.signature(method).parameters.values()
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.name != "self"
        )
        assert given == wanted, name


async def test_records_are_created_found_changed_and_deleted(fleet: Kernel) -> None:
    made = await fleet.create("ship", {"name": "Argo", "crew": 50})
    assert await fleet.get("ship", made["id"]) == made
    found = await fleet.find("ship", {"where": {"crew": {"$gt": 40}}, "count": True})
    assert found == QueryResult([made], total=1)
    changed = await fleet.update("ship", made["id"], {"crew": 51})
    assert (changed["name"], changed["crew"], changed["version"]) == ("Argo", 51, 2)
    assert await fleet.delete("ship", made["id"]) is True
    assert await fleet.delete("ship", made["id"]) is False
    assert await fleet.get("ship", made["id"]) is None
    with pytest.raises(RecordNotFound):
        await fleet.update("ship", made["id"], {"crew": 1})


async def test_a_batch_is_all_or_nothing(fleet: Kernel) -> None:
    good = BatchOperation("ship", "create", data=b'{"name":"Argo"}')
    reply = await fleet.batch(BatchRequest((good, good)))
    assert (reply.state, len(reply.results)) == ("committed", 2)
    bad = BatchOperation("ship", "create", data=b'{"crew":1}')
    with pytest.raises(ValidationFailed):
        await fleet.batch(BatchRequest((good, bad)))
    assert await fleet.count("ship") == 2


async def test_seeding_twice_inserts_once(fleet: Kernel) -> None:
    assert await fleet.seed() == 1
    assert await fleet.seed() == 0
    seeded = await fleet.get("ship", "beagle")
    assert seeded is not None
    assert seeded["crew"] == 74


async def test_a_kernel_that_does_not_run_refuses_work(package: Path) -> None:
    kernel = Kernel([MemoryDriver(), package])
    with pytest.raises(KernelNotStarted):
        await kernel.find("ship")
    await kernel.start()
    await kernel.start()
    assert (await kernel.find("ship")).value == []
    await kernel.stop()
    await kernel.stop()
    with pytest.raises(KernelNotStarted):
        await kernel.create("ship", {"name": "Late"})


async def test_metadata_and_views_are_documents(fleet: Kernel) -> None:
    document = fleet.get_metadata("ship")
    assert document["name"] == "ship"
    assert document["fields"]["crew"]["min"] == 1
    for type_ in ("list", "form"):
        view = fleet.get_view("ship", type_)
        assert "crew" in str(view), view
    with pytest.raises(ObjectUnknown) as caught:
        fleet.get_metadata("shp")
    assert "ship" in str(caught.value)
    with pytest.raises(MetadataNotFound):
        fleet.get_view("ship", "chart")


async def test_the_protocol_reads_metadata(fleet: Kernel) -> None:
    protocol = RuntimeProtocol(fleet)
    assert "object" in protocol.get_meta_types()
    assert protocol.get_meta_item("object", "ship") == fleet.get_metadata("ship")
    assert protocol.get_meta_item("objects", "ship") == fleet.get_metadata("ship")
    assert protocol.get_meta_item("object", "shp") is None
    assert protocol.list_meta_items("object") == [fleet.get_metadata("ship")]


async def test_the_protocol_reads_and_writes_data(fleet: Kernel) -> None:
    protocol = RuntimeProtocol(fleet)
    made = await protocol.create_data("ship", {"name": "Argo"})
    assert await protocol.get_data("ship", made["id"]) == made
    assert await protocol.find_data("ship", {"where": {"name": "Argo"}}) == [made]
    changed = await protocol.update_data("ship", made["id"], {"crew": 2})
    assert changed["crew"] == 2
    assert await protocol.delete_data("ship", made["id"]) is True
    assert await protocol.delete_data("ship", made["id"]) is False
    assert await protocol.get_data("ship", made["id"]) is None
    assert await protocol.find_data("ship") == []


@pytest.mark.parametrize("reference", ["ship.launch", "ship:launch"])
@pytest.mark.parametrize("key", ["id", "_id"])
async def test_the_protocol_executes_actions(fleet: Kernel, reference: str, key: str) -> None:
    protocol = RuntimeProtocol(fleet)
    made = await protocol.create_data("ship", {"name": "Argo"})
    answer: Any = await protocol.execute_action(reference, {key: made["id"], "crew": 9})
    assert answer == {"name": "Argo", "crew": 9}
