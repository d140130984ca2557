"""The ObjectStack client's surface: every call of its core set, and the envelopes it reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.vectors import VECTORS

from objectql.errors import (
    Category,
    ErrorInfo,
    Issue,
    MetadataNotFound,
    RecordNotFound,
    ValidationFailed,
    VersionConflict,
)
from objectql.wire.messages import BulkReply, JsonReply, PageReply, RecordReply, RowResult

_CALLS = VECTORS / "client-calls.tsv"

CORE = {
    "connect": None,
    "data.query": "find",
    "data.find v2 array": "find",
    "data.find v1": "aggregate",
    "data.find none": "find",
    "data.get": "get",
    "data.create": "create",
    "data.createMany": "bulk",
    "data.update": "update",
    "data.delete": "delete",
    "data.batch": "bulk",
    "data.batchTransaction": "batch",
    "data.updateMany": "bulk",
    "data.deleteMany": "bulk",
    "data.clone": "clone",
    "data.export": "export",
    "search": "search",
    "meta.getTypes": "meta_types",
    "meta.getItems": "meta_list",
    "meta.getItem": "meta_get",
    "meta.saveItem": "meta_put",
    "meta.deleteItem": "meta_delete",
    "meta.getCached": "meta_get",
    "meta.getView": "view",
    "meta.getLegalNextStates": "tenant_snapshot",
    "actions.invoke": "action",
    "actions.invokeGlobal": "action",
    "security.explain": "explain_access",
}
"""The calls that reach the kernel, with the verb."""

REFUSED = {"data.find v2 obj": 400}
"""The client's own mistake: it sends `n=[object Object]`."""


def rows() -> list[list[str]]:
    if not _CALLS.exists():
        return []
    lines = _CALLS.read_text().splitlines()
    return [(line + "\t\t\t\t").split("\t")[:5] for line in lines if "NOCALL" not in line]


async def send(client: Any, row: list[str]) -> Any:
    _, method, path, body, headers = row
    content = body.encode() if body.startswith(("{", "[")) else b""
    given = {k.lower(): v for k, v in json.loads(headers or "{}").items()}
    return await client.request(method, path, content=content, headers=given)


needs_vectors = pytest.mark.skipif(not rows(), reason=f"no {_CALLS}")


@needs_vectors
@pytest.mark.parametrize("row", [r for r in rows() if r[0] in CORE], ids=lambda r: r[0])
async def test_core_calls_reach_the_kernel(client: Any, kernel: Any, row: list[str]) -> None:
    answer = await send(client, row)
    assert answer.status_code in {200, 201}, answer.text
    verb = CORE[row[0]]
    assert (kernel.last[0] if kernel.count else None) == verb


@needs_vectors
@pytest.mark.parametrize("row", [r for r in rows() if r[0] in REFUSED], ids=lambda r: r[0])
async def test_calls_that_cannot_be_meant_are_refused(client: Any, row: list[str]) -> None:
    answer = await send(client, row)
    assert answer.status_code == REFUSED[row[0]]
    assert "query" in answer.json()["message"]


@needs_vectors
@pytest.mark.parametrize(
    "row", [r for r in rows() if r[0] not in CORE and r[0] not in REFUSED], ids=lambda r: r[0]
)
async def test_other_services_say_that_they_are_absent(
    client: Any, kernel: Any, row: list[str]
) -> None:
    answer = await send(client, row)
    body = answer.json()
    assert (answer.status_code, body["code"]) == (501, "NOT_IMPLEMENTED"), row
    assert body["details"]["feature"]
    assert kernel.count == 0


async def test_discovery_needs_no_token_and_names_the_routes(client: Any) -> None:
    for path in ("/api/v1/discovery", "/.well-known/objectstack"):
        answer = await client.get(path, headers={"authorization": ""})
        assert answer.status_code == 200
        body = answer.json()
        assert body["routes"]["data"] == "/api/v1/data"
        assert body["services"]["data"]["enabled"] is True
        assert body["services"]["ai"]["enabled"] is False


async def test_list_envelope(client: Any, kernel: Any) -> None:
    kernel.answers["find"] = PageReply(
        items=b'[{"id":"1"}]', count=1, limit=5, has_next=True, total=57
    )
    answer = await client.get("/api/v1/data/task?top=5")
    assert answer.json() == {
        "object": "task",
        "records": [{"id": "1"}],
        "total": 57,
        "hasMore": True,
    }
    assert kernel.last[1].query.count == "exact"


async def test_list_skips_the_total_when_told(client: Any, kernel: Any) -> None:
    answer = await client.get("/api/v1/data/task?count=false")
    assert "total" not in answer.json()
    assert kernel.last[1].query.count == "none"


async def test_a_field_as_parameter_is_an_equality(client: Any, kernel: Any) -> None:
    await client.get("/api/v1/data/task?status=open")
    assert kernel.last[1].query.where.path == ("status",)
    answer = await client.get("/api/v1/data/task?statuss=open")
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_FIELD")


async def test_record_envelopes(client: Any, kernel: Any) -> None:
    assert (await client.get("/api/v1/data/task/1")).json() == {
        "object": "task",
        "id": "1",
        "record": {"id": "1", "title": "a"},
    }
    kernel.answers["create"] = RecordReply(
        record=b'{"id":"1"}', id="1", version=1, dropped=("created_at",)
    )
    answer = await client.post("/api/v1/data/task", json={"title": "a"})
    assert answer.status_code == 201
    assert answer.json()["droppedFields"] == [
        {"object": "task", "fields": ["created_at"], "reason": "readonly"}
    ]
    assert (await client.delete("/api/v1/data/task/1")).json() == {
        "object": "task",
        "id": "1",
        "success": True,
    }


async def test_a_version_conflict_is_409_with_the_current_record(client: Any, kernel: Any) -> None:
    kernel.answers["update"] = VersionConflict(object="task", id="1", current_version=3)
    answer = await client.patch("/api/v1/data/task/1", json={}, headers={"if-match": '"2"'})
    body = answer.json()
    assert (answer.status_code, body["code"]) == (409, "CONCURRENT_UPDATE")
    assert body["currentVersion"] == 3
    assert body["currentRecord"] == {"id": "1", "title": "a"}


async def test_a_conflict_with_a_record_that_is_gone_has_none(client: Any, kernel: Any) -> None:
    kernel.answers["delete"] = VersionConflict(object="task", id="1")
    kernel.answers["get"] = RecordNotFound(object="task", id="1")
    answer = await client.delete("/api/v1/data/task/1", headers={"if-match": '"2"'})
    assert answer.status_code == 409
    assert "currentRecord" not in answer.json()


@pytest.mark.parametrize(
    ("given", "version", "instant"),
    [(12, 12, None), ("12", 12, None), ("2026-01-01T00:00:00Z", None, "2026-01-01T00:00:00Z")],
)
async def test_the_expected_version_may_stand_in_the_body(
    client: Any, kernel: Any, given: Any, version: int | None, instant: str | None
) -> None:
    await client.patch("/api/v1/data/task/1", json={"title": "b", "expectedVersion": given})
    request = kernel.last[1]
    assert (request.if_version, request.if_updated_at) == (version, instant)
    assert json.loads(request.data) == {"title": "b"}


async def test_batch_reports_every_row(client: Any, kernel: Any) -> None:
    error = ErrorInfo(
        "VALIDATION_FAILED",
        Category.INVALID_REQUEST,
        "no",
        issues=(Issue("title", "required", "title is required"),),
    )
    kernel.answers["bulk"] = BulkReply(
        (
            RowResult("1", "updated", 2, b'{"id":"1"}'),
            RowResult("2", error=error),
            RowResult("3", error=ErrorInfo("NOT_ATTEMPTED", Category.CONFLICT, "not reached")),
        )
    )
    body = {
        "operation": "update",
        "records": [{"id": str(n), "data": {"title": ""}} for n in (1, 2, 3)],
        "options": {"returnRecords": True},
    }
    answer = await client.post("/api/v1/data/task/batch", json=body)
    assert answer.status_code == 200
    assert answer.json() == {
        "success": False,
        "operation": "update",
        "total": 3,
        "succeeded": 1,
        "failed": 2,
        "results": [
            {"success": True, "index": 0, "id": "1", "data": {"id": "1"}},
            {
                "success": False,
                "index": 1,
                "id": "2",
                "errors": [
                    {
                        "code": "VALIDATION_FAILED",
                        "message": "no",
                        "fields": [
                            {"field": "title", "code": "required", "message": "title is required"}
                        ],
                    }
                ],
            },
            {
                "success": False,
                "index": 2,
                "id": "3",
                "errors": [{"code": "NOT_ATTEMPTED", "message": "not reached"}],
            },
        ],
    }


async def test_an_empty_batch_is_nothing_done(client: Any, kernel: Any) -> None:
    answer = await client.post(
        "/api/v1/data/task/batch", json={"operation": "create", "records": []}
    )
    assert (answer.status_code, answer.json()["total"]) == (200, 0)
    assert kernel.count == 0


async def test_a_batch_over_the_limit_says_both_numbers(client: Any) -> None:
    body = {"ids": [str(n) for n in range(201)]}
    answer = await client.post("/api/v1/data/task/deleteMany", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "BATCH_TOO_LARGE")
    assert answer.json()["details"] == {"count": 201, "max": 200}


async def test_validate_only_is_refused(client: Any, kernel: Any) -> None:
    body = {"ids": ["1"], "options": {"validateOnly": True}}
    answer = await client.post("/api/v1/data/task/deleteMany", json=body)
    assert answer.status_code == 501
    assert kernel.count == 0


async def test_transaction_results_are_records(client: Any) -> None:
    body = {
        "operations": [
            {"object": "a", "action": "create", "data": {"x": 1}},
            {"object": "b", "action": "create", "data": {"a": {"$ref": 0}}},
        ]
    }
    answer = await client.post("/api/v1/batch", json=body)
    assert answer.json() == {"results": [{"id": "1"}, {"id": "2"}]}


async def test_meta_envelopes_and_304(client: Any) -> None:
    assert (await client.get("/api/v1/meta")).json()["types"] == ["object"]
    items = await client.get("/api/v1/meta/object")
    assert items.json() == {"type": "object", "items": [{"name": "task"}]}
    item = await client.get("/api/v1/meta/object/task")
    assert item.json() == {"type": "object", "name": "task", "item": {"name": "task"}}
    tag = {"if-none-match": item.headers["etag"]}
    assert (await client.get("/api/v1/meta/object/task", headers=tag)).status_code == 304


async def test_saved_metadata_answers_its_version_as_the_client_sends_it_back(
    client: Any, kernel: Any
) -> None:
    answer = await client.put(
        "/api/v1/meta/object/task?force=true", json={"name": "task"}, headers={"if-match": "7"}
    )
    assert answer.json() == {"success": True, "version": "8", "seq": 8, "state": "active"}
    request = next(request for verb, request, _ in kernel.asked if verb == "meta_put")
    assert (request.if_version, request.allow_destructive) == (7, True)
    deleted = await client.delete("/api/v1/meta/object/task", headers={"if-match": "8"})
    assert deleted.json() == {"success": True, "reset": True, "version": "9"}
    request = next(request for verb, request, _ in kernel.asked if verb == "meta_delete")
    assert request.if_version == 8


async def test_deleting_what_nothing_overrides_resets_nothing(client: Any, kernel: Any) -> None:
    kernel.answers["meta_delete"] = MetadataNotFound(type="object", name="task")
    answer = await client.delete("/api/v1/meta/object/task")
    assert (answer.status_code, answer.json()) == (200, {"success": True, "reset": False})
    kernel.answers["meta_get"] = JsonReply(body=b"null", found=False)
    assert (await client.delete("/api/v1/meta/object/task")).status_code == 404


@pytest.mark.parametrize(
    ("method", "query", "status"),
    [
        ("PUT", "mode=draft", 501),
        ("PUT", "package=crm", 501),
        ("PUT", "mdoe=draft", 400),
        ("DELETE", "state=draft", 501),
        ("DELETE", "force=true", 400),
    ],
)
async def test_metadata_is_not_written_otherwise_than_asked(
    client: Any, kernel: Any, method: str, query: str, status: int
) -> None:
    answer = await client.request(method, f"/api/v1/meta/object/task?{query}", content=b"{}")
    assert answer.status_code == status
    assert {verb for verb, _, _ in kernel.asked}.isdisjoint({"meta_put", "meta_delete"})


async def test_a_tag_that_is_no_version_never_matches(client: Any, kernel: Any) -> None:
    tag = {"if-match": '"of-something-else"'}
    for path, status in (("/api/meta/object/task", 412), ("/api/v1/meta/object/task", 409)):
        assert (await client.put(path, json={}, headers=tag)).status_code == status
        assert (await client.delete(path, headers=tag)).status_code == status
    assert {verb for verb, _, _ in kernel.asked}.isdisjoint({"meta_put", "meta_delete"})


async def test_actions_answer_in_an_envelope(client: Any, kernel: Any) -> None:
    body = {"recordId": "1", "params": {"why": "x"}}
    answer = await client.post("/api/v1/actions/task/close", json=body)
    assert answer.json() == {"success": True, "data": {"ok": True}}
    request = kernel.last[1]
    assert (request.object, request.action, request.id) == ("task", "close", "1")
    assert request.params == b'{"why":"x"}'


async def test_errors_are_flat(client: Any, kernel: Any) -> None:
    kernel.answers["create"] = ValidationFailed(
        object="task", issues=(Issue("title", "required", "title is required"),)
    )
    answer = await client.post("/api/v1/data/task", json={}, headers={"x-request-id": "r"})
    assert answer.status_code == 400
    assert answer.json() == {
        "error": "1 problem in task",
        "message": "1 problem in task",
        "code": "VALIDATION_FAILED",
        "fields": [{"field": "title", "code": "required", "message": "title is required"}],
        "details": {"object": "task"},
        "retryable": False,
        "requestId": "r",
    }


async def test_unknown_paths_answer_in_this_surfaces_form(client: Any) -> None:
    answer = await client.get("/api/v1/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "ENDPOINT_NOT_FOUND")
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("query", "origin", "following"),
    [
        ("?from=open", "open", ["review", "done"]),
        ("?from=done", "done", []),
        ("", None, ["review", "done"]),
    ],
)
async def test_next_states_are_the_targets_of_the_edges(
    client: Any, query: str, origin: str | None, following: list[str]
) -> None:
    answer = await client.get(f"/api/v1/meta/object/task/state/status{query}")
    assert answer.json() == {
        "object": "task",
        "field": "status",
        "from": origin,
        "next": following,
    }
    other = await client.get("/api/v1/meta/objects/task/state/title")
    assert other.json()["next"] is None
