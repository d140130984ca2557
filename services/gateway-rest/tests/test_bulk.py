from __future__ import annotations

import json
from typing import Any

import pytest

from objectql.errors import Category, ErrorInfo, Issue, TransactionUnknown, WriteConflict
from objectql.ids import DataSource
from objectql.wire.messages import BatchReply, BulkReply, RowResult
from objectql.wire.transactions import TransactionReply


async def test_bulk_rows_are_records_or_describe_them(client: Any, kernel: Any) -> None:
    body = {
        "operation": "upsert",
        "records": [
            {"id": "1", "title": "a"},
            {"title": "b"},
            {"id": "2", "data": {"title": "c"}, "if_version": 4},
            {"external_id": "e1", "data": {"title": "d"}},
        ],
        "match": ["title"],
        "continue_on_error": True,
    }
    await client.post("/api/task/bulk", json=body)
    request = kernel.last[1]
    assert (request.operation, request.match) == ("upsert", ("title",))
    assert (request.atomic, request.continue_on_error) == (False, True)
    rows = [(r.id, r.external_id, r.if_version, json.loads(r.data)) for r in request.rows]
    assert rows == [
        ("1", None, None, {"id": "1", "title": "a"}),
        (None, None, None, {"title": "b"}),
        ("2", None, 4, {"title": "c"}),
        (None, "e1", None, {"title": "d"}),
    ]


async def test_bulk_deletes_take_bare_ids(client: Any, kernel: Any) -> None:
    await client.post("/api/task/bulk", json={"operation": "delete", "records": ["1", {"id": "2"}]})
    assert [row.id for row in kernel.last[1].rows] == ["1", "2"]


async def test_bulk_answers_a_result_per_row(client: Any, kernel: Any) -> None:
    error = ErrorInfo(
        "VALIDATION_FAILED",
        Category.INVALID_REQUEST,
        "1 problem in task",
        issues=(Issue("title", "required", "title is required"),),
    )
    kernel.answers["bulk"] = BulkReply(
        (RowResult("1", "created", 1, b'{"id":"1"}'), RowResult(error=error))
    )
    answer = await client.post(
        "/api/task/bulk", json={"operation": "create", "records": [{"title": "a"}, {}]}
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "results": [
            {"index": 0, "id": "1", "action": "created", "version": 1, "record": {"id": "1"}},
            {
                "index": 1,
                "id": None,
                "action": "none",
                "error": {
                    "code": "VALIDATION_FAILED",
                    "message": "1 problem in task",
                    "errors": [
                        {"path": "title", "code": "required", "message": "title is required"}
                    ],
                },
            },
        ],
        "succeeded": 1,
        "failed": 1,
    }


MEANINGLESS: list[Any] = [
    ({"operation": "create", "records": [{}, 1, "x"]}, "records.1"),
    ({"operation": "drop", "records": []}, "operation"),
    ({"operation": "create"}, "records"),
    ({"operation": "create", "records": [], "atomc": True}, "atomc"),
    ({"operation": "update", "records": [{"id": 1, "title": "a"}]}, "records.0"),
]


@pytest.mark.parametrize(("body", "path"), MEANINGLESS)
async def test_bulk_bodies_that_mean_nothing_are_refused(
    client: Any, kernel: Any, body: Any, path: str
) -> None:
    answer = await client.post("/api/task/bulk", json=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == path
    assert kernel.count == 0


async def test_a_misspelt_key_is_met_with_the_right_one(client: Any) -> None:
    body: dict[str, Any] = {"operation": "create", "records": [], "atomc": True}
    answer = await client.post("/api/task/bulk", json=body)
    assert 'did you mean "atomic"' in answer.json()["detail"]


async def test_batch_passes_references_and_increments_as_they_are(client: Any, kernel: Any) -> None:
    operations = [
        {"object": "project", "action": "create", "data": {"name": "p"}},
        {"object": "task", "action": "update", "id": {"$ref": 0}, "data": {"n": {"$inc": 1}}},
    ]
    body = {"operations": operations, "isolation": "serializable"}
    answer = await client.post("/api/batch", json=body)
    assert answer.json() == {
        "results": [{"id": "1"}, {"id": "2"}],
        "transaction": {"id": "t-1", "state": "committed"},
    }
    request = kernel.last[1]
    assert (request.atomic, request.isolation) == (True, "serializable")
    assert request.operations[1].id == {"$ref": 0}
    assert json.loads(request.operations[1].data) == {"n": {"$inc": 1}}


async def test_a_kernel_tells_how_a_transaction_stands(client: Any, kernel: Any) -> None:
    kernel.answers["transaction"] = TransactionReply("t-1", "in_doubt", (DataSource("east"),))
    answer = await client.get("/api/transactions/t-1")
    assert answer.json() == {"id": "t-1", "state": "in_doubt", "sources": ["east"]}
    assert kernel.last[1].id == "t-1"
    kernel.answers["transaction"] = TransactionUnknown(id="t-2")
    assert (await client.get("/api/transactions/t-2")).status_code == 404


async def test_a_batch_in_doubt_is_202_with_its_place(client: Any, kernel: Any) -> None:
    kernel.answers["batch"] = BatchReply((RowResult("1", "deleted"),), "t-2", "in_doubt")
    operations = [{"object": "task", "action": "delete", "id": "1"}]
    answer = await client.post("/api/batch", json={"operations": operations})
    assert (answer.status_code, answer.headers["location"]) == (202, "/api/transactions/t-2")
    assert answer.json()["results"] == [{"id": "1", "deleted": True}]


async def test_an_atomic_batch_that_fails_is_the_failure_of_its_row(
    client: Any, kernel: Any
) -> None:
    error = ErrorInfo("WRITE_CONFLICT", Category.CONFLICT, "busy")
    undone = ErrorInfo("ROLLED_BACK", Category.CONFLICT, "undone")
    kernel.answers["batch"] = BatchReply(
        (RowResult(error=undone), RowResult(error=error)), "t-3", "aborted"
    )
    operations = [{"object": "task", "action": "create"}] * 2
    answer = await client.post("/api/batch", json={"operations": operations})
    assert (answer.status_code, answer.json()["code"]) == (409, WriteConflict.code)
    assert answer.json()["errors"][0]["path"] == "operations.1"


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        ({"object": "task", "action": "update", "data": {}}, "operations.0.id"),
        ({"object": "task", "action": "delete", "id": 7}, "operations.0.id"),
        ({"object": "task", "action": "delete", "id": {"$ref": "0"}}, "operations.0.id"),
        ({"object": "task", "action": "create", "data": []}, "operations.0.data"),
        ({"object": "task", "action": "drop"}, "operations.0.action"),
        ({"action": "create"}, "operations.0.object"),
    ],
)
async def test_batch_operations_that_mean_nothing_are_refused(
    client: Any, kernel: Any, operation: Any, path: str
) -> None:
    answer = await client.post("/api/batch", json={"operations": [operation]})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == path
    assert kernel.count == 0
