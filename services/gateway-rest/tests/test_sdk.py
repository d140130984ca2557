"""The ObjectQL SDK's surface and its envelopes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from objectql.errors import Issue, RecordNotFound, ValidationFailed, VersionConflict
from objectql.wire.messages import BulkReply, JsonReply, PageReply, RowResult


async def test_list_carries_ids_types_and_totals(client: Any, kernel: Any) -> None:
    kernel.answers["find"] = PageReply(
        items=b'[{"id":"1","cost":1.10}]', count=1, limit=20, offset=20, has_next=True, total=57
    )
    answer = await client.get("/api/data/task?limit=20&skip=20")
    assert b'"cost":1.10' in answer.content
    assert answer.json() == {
        "items": [{"id": "1", "cost": 1.1, "_id": "1", "@type": "task"}],
        "meta": {"total": 57, "page": 2, "size": 20, "pages": 3, "has_next": True},
    }
    assert kernel.last[1].query.count == "exact"


async def test_a_list_of_nothing_is_how_the_sdk_counts(client: Any, kernel: Any) -> None:
    kernel.answers["find"] = PageReply(items=b"[]", count=0, limit=0, total=57)
    answer = await client.get("/api/data/task?limit=0")
    assert (answer.json()["items"], answer.json()["count"]) == ([], 57)


@pytest.mark.parametrize("body", [{"title": "a"}, {"data": {"title": "a"}}])
async def test_create_takes_the_record_bare_or_wrapped(client: Any, kernel: Any, body: Any) -> None:
    answer = await client.post("/api/data/task", json=body)
    assert answer.status_code == 201
    assert answer.json() == {"data": {"id": "1", "_id": "1", "@type": "task"}}
    assert json.loads(kernel.last[1].data) == {"title": "a"}


async def test_create_of_lists(client: Any, kernel: Any) -> None:
    answer = await client.post("/api/data/task", json=[{"title": "a"}])
    assert answer.status_code == 201
    assert (answer.json()["count"], answer.json()["@type"]) == (1, "task")
    empty = await client.post("/api/data/task", json=[])
    assert (empty.status_code, empty.json()["count"]) == (201, 0)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_put_and_patch_both_merge(client: Any, kernel: Any, method: str) -> None:
    answer = await client.request(method, "/api/data/task/1", json={"title": "b"})
    assert answer.json()["data"]["_id"] == "1"
    assert kernel.last[1].replace is False


async def test_delete_envelope(client: Any) -> None:
    answer = await client.delete("/api/data/task/1")
    assert answer.json() == {
        "data": {"id": "1", "_id": "1", "deleted": True, "@type": "task"},
        "success": True,
        "deleted_count": 1,
    }


async def test_writes_by_filter(client: Any, kernel: Any) -> None:
    body = {"filters": [["status", "=", "open"]], "data": {"n": 1}}
    answer = await client.post("/api/data/task/bulk-update", json=body)
    assert answer.json() == {"count": 3}
    assert (kernel.last[1].operation, kernel.last[1].where.path) == ("update", ("status",))
    answer = await client.post("/api/data/task/bulk-delete", json={"filters": {"n": 1}})
    assert answer.json() == {"count": 3, "deleted_count": 3}
    assert kernel.last[1].operation == "delete"


INCOMPLETE: list[tuple[str, str, Any]] = [
    ("POST", "/api/data/task/bulk-update", {"filters": {}}),
    ("PUT", "/api/data/task", {}),
    ("POST", "/api/data/task/bulk-update", {"filters": [[]], "data": {"n": 1}}),
    ("POST", "/api/data/task/bulk-delete", {"filters": []}),
    ("POST", "/api/data/task/bulk-delete", {"filters": [[]]}),
    ("DELETE", "/api/data/task", None),
    ("POST", "/api/objectql", {"op": "find", "object": "task", "user": {"id": "root"}}),
    ("POST", "/api/objectql", {"op": "drop", "object": "task"}),
    ("POST", "/api/objectql", {"op": "find"}),
    ("POST", "/api/command", {"type": "create", "object": "task"}),
    ("POST", "/api/command", {"type": "update", "object": "task", "data": {}}),
    ("POST", "/api/query", {"limit": 1}),
]


@pytest.mark.parametrize(("method", "path", "body"), INCOMPLETE)
async def test_incomplete_requests_are_400(
    client: Any, kernel: Any, method: str, path: str, body: Any
) -> None:
    answer = await client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "INVALID_REQUEST")
    assert kernel.count == 0


@pytest.mark.parametrize(
    ("op", "args", "verb", "data"),
    [
        ("find", {"limit": 2}, "find", [{"id": "1", "_id": "1", "@type": "task"}]),
        ("find", None, "find", [{"id": "1", "_id": "1", "@type": "task"}]),
        ("findOne", "1", "get", {"id": "1", "title": "a", "_id": "1", "@type": "task"}),
        ("findOne", {"id": "1"}, "get", {"id": "1", "title": "a", "_id": "1", "@type": "task"}),
        ("findOne", {"where": {"n": 1}}, "find", {"id": "1", "_id": "1", "@type": "task"}),
        ("create", {"title": "a"}, "create", {"id": "1", "_id": "1", "@type": "task"}),
        ("update", {"id": "1", "data": {}}, "update", {"id": "1", "_id": "1", "@type": "task"}),
        ("delete", {"id": "1"}, "delete", {"id": "1", "deleted": True, "@type": "task"}),
        ("count", [["n", ">", 3]], "find", 57),
        ("count", {"filters": {"n": 3}}, "find", 57),
        ("count", None, "find", 57),
        ("action", {"action": "close", "id": "1", "params": {"why": "x"}}, "action", {"ok": True}),
        ("createMany", [{"title": "a"}], "bulk", [{"id": "1", "_id": "1", "@type": "task"}]),
        ("updateMany", {"filters": {"n": 1}, "data": {"n": 2}}, "write_where", {"count": 3}),
        ("deleteMany", {"filters": {"n": 1}}, "write_where", {"count": 3}),
    ],
)
async def test_rpc_operations(
    client: Any, kernel: Any, op: str, args: Any, verb: str, data: Any
) -> None:
    kernel.answers["find"] = PageReply(items=b'[{"id":"1"}]', count=1, limit=100, total=57)
    answer = await client.post("/api/objectql", json={"op": op, "object": "task", "args": args})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"] == data
    assert kernel.last[0] == verb


async def test_find_one_of_nothing_is_null(client: Any, kernel: Any) -> None:
    kernel.answers["get"] = RecordNotFound(object="task", id="9")
    body = {"op": "findOne", "object": "task", "args": "9"}
    assert (await client.post("/api/objectql", json=body)).json() == {"data": None}


async def test_query_answers_value_and_count(client: Any, kernel: Any) -> None:
    kernel.answers["find"] = PageReply(items=b'[{"id":"1"}]', count=1, limit=100, total=57)
    answer = await client.post("/api/query", json={"object": "task"})
    assert answer.content == b'{"value":[{"id":"1"}],"count":57}'


COMMANDS: list[Any] = [
    ({"type": "create", "data": {"title": "a"}}, "create", {"id": "1"}),
    ({"type": "update", "id": "1", "data": {}}, "update", {"id": "1"}),
    ({"type": "delete", "id": "1"}, "delete", {"id": "1", "deleted": True}),
    ({"type": "bulkCreate", "data": [{}]}, "bulk", [{"id": "1"}]),
    ({"type": "bulkUpdate", "updates": [{"id": "1", "data": {}}]}, "bulk", [{"id": "1"}]),
    ({"type": "bulkDelete", "ids": ["1"]}, "bulk", ["1"]),
]


@pytest.mark.parametrize(("body", "verb", "data"), COMMANDS)
async def test_commands(client: Any, kernel: Any, body: Any, verb: str, data: Any) -> None:
    kernel.answers["bulk"] = BulkReply((RowResult("1", "updated", 1, b'{"id":"1"}'),))
    answer = await client.post("/api/command", json={"object": "task", **body})
    assert answer.json() == {"success": True, "data": data, "affected": 1}
    assert kernel.last[0] == verb


async def test_metadata_of_objects(client: Any, kernel: Any) -> None:
    document: dict[str, Any] = {
        "name": "task",
        "label": "Task",
        "fields": {"title": {"type": "text"}},
        "actions": {"close": {"params": {"why": {}}}, "sweep": {"label": "Sweep"}},
    }
    kernel.answers["meta_list"] = JsonReply(body=json.dumps([document]).encode())
    kernel.answers["meta_get"] = JsonReply(body=json.dumps(document).encode())
    listed = await client.get("/api/metadata/objects")
    assert listed.json()["items"][0]["label"] == "Task"
    one = await client.get("/api/metadata/object/task")
    assert one.json()["fields"] == {"title": {"name": "title", "type": "text"}}
    field = await client.get("/api/metadata/object/task/fields/title")
    assert field.json() == {"name": "title", "type": "text"}
    missing = await client.get("/api/metadata/object/task/fields/nope")
    assert missing.json()["error"]["code"] == "INVALID_REQUEST"
    actions = await client.get("/api/metadata/object/task/actions")
    assert actions.json() == {
        "items": [
            {"name": "close", "type": "record", "params": {"why": {}}},
            {"name": "sweep", "type": "global", "label": "Sweep"},
        ]
    }


async def test_errors_are_nested_with_the_sdks_codes(client: Any, kernel: Any) -> None:
    kernel.answers["create"] = ValidationFailed(
        object="task", issues=(Issue("title", "required", "title is required"),)
    )
    answer = await client.post("/api/data/task", json={})
    assert answer.json() == {
        "error": {
            "code": "VALIDATION_ERROR",
            "message": "1 problem in task",
            "details": {
                "object": "task",
                "field": "title",
                "reason": "required",
                "fields": {"title": "title is required"},
            },
        }
    }


async def test_a_version_conflict_is_409_here(client: Any, kernel: Any) -> None:
    kernel.answers["update"] = VersionConflict(object="task", id="1")
    answer = await client.patch("/api/data/task/1", json={}, headers={"if-match": '"1"'})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "CONFLICT")
