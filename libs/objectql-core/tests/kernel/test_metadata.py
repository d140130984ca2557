from __future__ import annotations

import json
from typing import Any

import pytest

from objectql.drivers.protocol import Driver
from objectql.errors import (
    MetadataInvalid,
    MetadataNotFound,
    ObjectUnknown,
    PermissionDenied,
    SchemaChangeRefused,
    VersionConflict,
)
from objectql.ids import ObjectName
from objectql.kernel.documents import documents_of
from objectql.kernel.kernel import Kernel
from objectql.metadata.field_numbers import numbers_of
from objectql.metadata.transfer import decode_snapshot
from objectql.wire.messages import (
    MetaDeleteRequest,
    MetaGetRequest,
    MetaListRequest,
    MetaPutRequest,
    MetaTypesRequest,
    SnapshotRequest,
    ViewRequest,
)

NOTE = b'{"fields": {"text": {"type": "text"}}}'


async def test_a_put_object_can_be_used_at_once_and_deleted_again(kernel: Kernel, ask: Any) -> None:
    admin = ask("admin")
    version = kernel.engine.model.version
    reply = await kernel.handle_meta_put(MetaPutRequest("object", "note", NOTE), admin)
    assert reply.version == version + 1
    assert any("note" in change for change in reply.changes)
    await kernel.create("note", {"text": "x"})
    more = b'{"fields": {"text": {"type": "text"}, "more": {"type": "text"}}}'
    await kernel.handle_meta_put(MetaPutRequest("objects", "note", more), admin)
    assert (await kernel.create("note", {"more": "y"}))["more"] == "y"
    await kernel.handle_meta_delete(MetaDeleteRequest("object", "note"), admin)
    with pytest.raises(ObjectUnknown):
        await kernel.find("note")
    with pytest.raises(MetadataNotFound):
        await kernel.handle_meta_delete(MetaDeleteRequest("object", "note"), admin)


async def test_a_custom_field_is_laid_over_the_package(kernel: Kernel, ask: Any) -> None:
    document = b'{"fields": {"nickname": {"type": "text"}}}'
    await kernel.handle_meta_put(MetaPutRequest("object", "account", document), ask("admin"))
    made = await kernel.create("account", {"name": "A", "nickname": "N"})
    assert (made["nickname"], made["stage"]) == ("N", "new")


async def test_bad_documents_change_nothing_and_name_every_problem(
    kernel: Kernel, ask: Any
) -> None:
    before = kernel.engine.model.version
    document = b'{"fields": {"a": {"type": "nope"}, "b": {"type": "lookup"}}}'
    with pytest.raises(MetadataInvalid) as caught:
        await kernel.handle_meta_put(MetaPutRequest("object", "note", document), ask("admin"))
    assert len(caught.value.issues) == 2
    assert kernel.engine.model.version == before


async def test_losing_data_must_be_asked_for(kernel: Kernel, ask: Any) -> None:
    admin = ask("admin")
    two = b'{"fields": {"a": {"type": "text"}, "b": {"type": "text"}}}'
    await kernel.handle_meta_put(MetaPutRequest("object", "note", two), admin)
    one = b'{"fields": {"a": {"type": "text"}}}'
    with pytest.raises(SchemaChangeRefused):
        await kernel.handle_meta_put(MetaPutRequest("object", "note", one), admin)
    assert "b" in kernel.get_metadata("note")["fields"]
    request = MetaPutRequest("object", "note", one, allow_destructive=True)
    await kernel.handle_meta_put(request, admin)
    assert "b" not in kernel.get_metadata("note")["fields"]


async def test_metadata_is_changed_by_admins_at_the_version_they_know(
    kernel: Kernel, ask: Any
) -> None:
    with pytest.raises(PermissionDenied):
        await kernel.handle_meta_put(MetaPutRequest("object", "note", NOTE), ask("sales"))
    request = MetaPutRequest("object", "note", NOTE, if_version=99)
    with pytest.raises(VersionConflict):
        await kernel.handle_meta_put(request, ask("admin"))


async def test_another_kernel_takes_over_what_is_published(
    kernel: Kernel, driver: Driver, ask: Any
) -> None:
    class Shared:
        """The same store under another kernel, which must not close it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(driver, name)

        async def close(self) -> None: ...

    follower = Kernel([Shared()])
    await follower.start()
    assert follower.engine.model.version == kernel.engine.model.version
    assert await follower.publisher.converge() is False
    await kernel.handle_meta_put(MetaPutRequest("object", "note", NOTE), ask("admin"))
    with pytest.raises(ObjectUnknown):
        await follower.find("note")
    assert await follower.publisher.converge() is True
    await follower.create("note", {"text": "x"})
    assert await kernel.count("note") == 1
    await follower.stop()


async def test_documents_types_and_views_are_answered_as_json(kernel: Kernel, ask: Any) -> None:
    viewer = ask("viewer")
    types = json.loads((await kernel.handle_meta_types(MetaTypesRequest(), viewer)).body)
    assert {"type": "object", "count": 4} in types
    listed = await kernel.handle_meta_list(MetaListRequest("objects", package="crm"), viewer)
    assert {d["name"] for d in json.loads(listed.body)} == {"account", "contact", "invoice", "line"}
    other = await kernel.handle_meta_list(MetaListRequest("object", package="x"), viewer)
    assert other.body == b"[]"
    found = await kernel.handle_meta_get(MetaGetRequest("object", "account"), viewer)
    assert (found.found, found.version) == (True, kernel.engine.model.version)
    missing = await kernel.handle_meta_get(MetaGetRequest("object", "nope"), viewer)
    assert missing.found is False
    view = await kernel.handle_view(ViewRequest("account", "form"), viewer)
    assert json.loads(view.body)
    with pytest.raises(MetadataNotFound):
        await kernel.handle_view(ViewRequest("account", "chart"), viewer)


async def test_gateways_get_the_snapshot_they_do_not_have(kernel: Kernel, ask: Any) -> None:
    reply = await kernel.handle_snapshot(SnapshotRequest(), ask())
    assert reply.items is not None
    assert decode_snapshot(reply.items).objects == kernel.engine.model.snapshot.objects
    known = await kernel.handle_snapshot(SnapshotRequest(reply.version), ask())
    assert known.items is None


async def test_numbers_of_fields_are_kept_with_what_is_published(
    kernel: Kernel, driver: Driver, ask: Any
) -> None:
    """They outlive a field, an object and the kernel, and reach gateways with the snapshot."""
    admin = ask("admin")
    two = b'{"fields": {"a": {"type": "text"}, "b": {"type": "text"}}}'
    swapped = b'{"fields": {"c": {"type": "text"}, "b": {"type": "text"}}}'

    async def numbers() -> dict[str, int]:
        reply = await kernel.handle_snapshot(SnapshotRequest(), admin)
        assert reply.items is not None
        found = decode_snapshot(reply.items).numbers[ObjectName("note")].fields
        return {key.partition(" ")[0]: number for key, number in found.items()}

    await kernel.handle_meta_put(MetaPutRequest("object", "note", two), admin)
    first = await numbers()
    request = MetaPutRequest("object", "note", swapped, allow_destructive=True)
    await kernel.handle_meta_put(request, admin)
    assert await numbers() == first | {"c": max(first.values()) + 1}
    await kernel.handle_meta_delete(MetaDeleteRequest("object", "note"), admin)
    assert await numbers() == first | {"c": max(first.values()) + 1}
    _, stored = await driver.metadata.load()
    kept = numbers_of(documents_of(stored))
    assert kept == kernel.engine.model.snapshot.numbers
    assert kept.keys() >= {"note", "account", "contact", "invoice", "line"}
    version = kernel.engine.model.version
    await kernel.publisher.publish_packages([])
    assert kernel.engine.model.version == version, "numbers that are known need no publication"


async def test_nobody_writes_the_numbers_of_fields(kernel: Kernel, ask: Any) -> None:
    with pytest.raises(MetadataInvalid):
        await kernel.handle_meta_put(
            MetaPutRequest("field_numbers", "account", b'{"message": "Account"}'), ask("admin")
        )
    types = json.loads((await kernel.handle_meta_types(MetaTypesRequest(), ask("admin"))).body)
    assert "field_numbers" not in {each["type"] for each in types}
