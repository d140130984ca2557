"""Exports: their grant, their columns, and pages that end."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from objectql.context import Context
from objectql.drivers.memory import MemoryDriver
from objectql.errors import InvalidQuery, ObjectUnknown, PermissionDenied
from objectql.kernel.kernel import Kernel
from objectql.query.parse import parse_query
from objectql.wire.messages import ExplainAccessRequest, ExportRequest

PERMISSIONS: dict[str, Any] = {
    "object": "note",
    "object_permissions": {
        "read": ["clerk", "auditor"],
        "create": ["clerk"],
        "export": ["auditor"],
    },
    "field_permissions": {"secret": {"read": []}},
}
NOTES: dict[str, Any] = {
    "name": "notes",
    "objects": {
        "note": {"fields": {"text": {"type": "text"}, "secret": {"type": "text"}}},
        "line": {"fields": {"note": {"type": "lookup", "reference_to": "note"}}},
    },
    "permissions": {"note": PERMISSIONS},
}
Ask = Callable[..., Context]


@pytest.fixture
async def notes() -> Any:
    kernel = Kernel([MemoryDriver(), NOTES])
    await kernel.start()
    for number in range(5):
        await kernel.create("note", {"id": f"n{number}", "text": "a", "secret": "b"})
    yield kernel
    await kernel.stop()


def asked(**query: Any) -> ExportRequest:
    return ExportRequest(parse_query(query, object="note"))


async def test_a_reader_without_the_grant_exports_nothing(notes: Kernel, ask: Ask) -> None:
    with pytest.raises(PermissionDenied) as caught:
        await notes.handle_export(asked(limit=5), ask("ann", "clerk"))
    assert caught.value.operation == "export"


async def test_an_export_has_the_columns_that_its_caller_may_read(notes: Kernel, ask: Ask) -> None:
    reply = await notes.handle_export(asked(limit=5), ask("ann", "auditor"))
    assert "secret" not in reply.columns
    assert [tuple(row) for row in json.loads(reply.items)] == [reply.columns] * 5
    chosen = await notes.handle_export(
        asked(fields=["text", "id"], expand={"line": {"count": True}}, limit=0),
        ask("root", "admin"),
    )
    assert chosen.columns == ("id", "text", "line", "line@count")


async def test_its_pages_end(notes: Kernel, ask: Ask) -> None:
    request, found = asked(limit=2, orderBy="-id"), list[str]()
    while True:
        reply = await notes.handle_export(request, ask("ann", "auditor"))
        found += [row["id"] for row in json.loads(reply.items)]
        if reply.next is None:
            break
        request = ExportRequest(msgspec.structs.replace(request.query, after=reply.next))
    assert found == ["n4", "n3", "n2", "n1", "n0"]


async def test_groups_and_unknown_objects_are_refused(notes: Kernel, ask: Ask) -> None:
    with pytest.raises(InvalidQuery):
        await notes.handle_export(asked(groupBy=["text"]), ask("root", "admin"))
    with pytest.raises(ObjectUnknown):
        await notes.handle_export(
            ExportRequest(parse_query({}, object="nothing")), ask("root", "admin")
        )


async def test_why_somebody_may_export_or_not_is_explained(notes: Kernel, ask: Ask) -> None:
    told: dict[str, Any] = {}
    for role in ("clerk", "auditor", "nobody"):
        request = ExplainAccessRequest("note", "export", "n1", user="ann", roles=(role,))
        reply = await notes.handle_explain_access(request, ask("root", "admin"))
        told[role] = json.loads(reply.body)
    assert {role: each["allowed"] for role, each in told.items()} == {
        "clerk": False,
        "auditor": True,
        "nobody": False,
    }
    assert told["clerk"]["because"][-1] == "export is not granted to the caller"
    assert told["auditor"]["because"][-1] == "export is granted to the caller"
