from __future__ import annotations

from typing import Any

import httpx
import pytest

from objectql.context import ReadPolicy
from objectql.errors import (
    Category,
    ErrorInfo,
    Issue,
    MethodNotAllowed,
    RecordNotFound,
    Unavailable,
    ValidationFailed,
    VersionConflict,
)
from objectql.query.ast import Op
from objectql.wire.messages import BulkReply, DeleteReply, PageReply, RecordReply, RowResult


async def test_list_passes_the_kernels_bytes_in_an_envelope(client: Any, kernel: Any) -> None:
    kernel.answers["find"] = PageReply(
        items=b'[{"id":"1", "n":1.10}]', count=1, limit=20, has_next=True, next="c", total=57
    )
    answer = await client.get("/api/task?$top=20&$count=true")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.content == (
        b'{"items":[{"id":"1", "n":1.10}],"meta":{"size":20,"has_next":true,"next":"c","total":57}}'
    )
    verb, request, _ = kernel.last
    assert (verb, request.query.limit, request.query.count) == ("find", 20, "exact")


async def test_list_without_a_size_asks_for_the_default_page(client: Any, kernel: Any) -> None:
    await client.get("/api/task")
    assert kernel.last[1].query.limit == 100


async def test_list_refuses_more_than_a_page_may_hold(client: Any, kernel: Any) -> None:
    answer = await client.get("/api/task?$top=1001")
    assert answer.status_code == 400
    assert answer.json()["code"] == "MAX_RECORDS_EXCEEDED"
    assert kernel.count == 0


async def test_a_repeated_url_is_parsed_once(client: Any, services: Any, kernel: Any) -> None:
    for _ in range(2):
        await client.get("/api/task?$filter=n gt 3")
    first, second = (request.query for _, request, _ in kernel.asked[-2:])
    assert first == second
    assert first.where.op is Op.GT
    assert len(services.urls._entries) == 1


async def test_get_answers_the_record_with_its_version_as_tag(client: Any) -> None:
    answer = await client.get("/api/task/1")
    assert answer.content == b'{"id":"1","title":"a"}'
    assert answer.headers["etag"] == '"3"'


@pytest.mark.parametrize("tag", ['"3"', 'W/"3"', '"1", "3"', "*"])
async def test_get_answers_304_when_the_tag_is_known(client: Any, tag: str) -> None:
    answer = await client.get("/api/task/1", headers={"if-none-match": tag})
    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == '"3"'


async def test_get_answers_anew_when_the_tag_is_old(client: Any) -> None:
    answer = await client.get("/api/task/1", headers={"if-none-match": '"2"'})
    assert answer.status_code == 200


async def test_get_wraps_the_record_when_asked(client: Any) -> None:
    answer = await client.get("/api/task/1?envelope=true")
    assert answer.json() == {"data": {"id": "1", "title": "a"}}


async def test_get_refuses_parameters_of_lists(client: Any, kernel: Any) -> None:
    answer = await client.get("/api/task/1?$filter=n gt 3")
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_QUERY")
    assert kernel.count == 0


async def test_an_encoded_slash_belongs_to_the_id(client: Any, kernel: Any) -> None:
    await client.get("/api/task/a%2Fb")
    assert kernel.last[1].id == "a/b"


async def test_create_answers_201_with_location_and_tag(client: Any, kernel: Any) -> None:
    kernel.answers["create"] = RecordReply(
        record=b'{"id":"a/b"}', id="a/b", version=1, consistency_token="1.default:16B"
    )
    body = b'{"title":"a","cost":0.10000000000000000001}'
    answer = await client.post("/api/task", content=body)
    assert (answer.status_code, answer.content) == (201, b'{"id":"a/b"}')
    assert answer.headers["location"] == "/api/task/a%2Fb"
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["oql-consistency-token"] == "1.default:16B"
    assert kernel.last[1].data == body


async def test_create_of_a_list_is_one_atomic_bulk(client: Any, kernel: Any) -> None:
    answer = await client.post("/api/task", content=b'[{"title":"a"}]')
    assert (answer.status_code, answer.content) == (201, b'{"items":[{"id":"1"}],"count":1}')
    verb, request, _ = kernel.last
    assert (verb, request.operation, request.atomic) == ("bulk", "create", True)


async def test_create_of_a_list_reports_every_failing_row(client: Any, kernel: Any) -> None:
    def failed(code: str, *issues: Issue) -> RowResult:
        return RowResult(
            error=ErrorInfo(code, Category.INVALID_REQUEST, "no", {"object": "task"}, issues)
        )

    kernel.answers["bulk"] = BulkReply(
        (
            failed("ROLLED_BACK"),
            failed("VALIDATION_FAILED", Issue("title", "required", "title is required")),
            failed("NOT_ATTEMPTED"),
        )
    )
    answer = await client.post("/api/task", json=[{}, {}, {}])
    assert answer.status_code == 400
    assert answer.json()["code"] == "VALIDATION_FAILED"
    assert [e["path"] for e in answer.json()["errors"]] == ["task.1.title"]


async def test_put_replaces_and_patch_merges(client: Any, kernel: Any) -> None:
    await client.put("/api/task/1", json={"title": "b"})
    assert kernel.last[1].replace is True
    await client.patch("/api/task/1", json={"title": "b"})
    assert kernel.last[1].replace is False


@pytest.mark.parametrize(
    ("given", "version", "instant"),
    [
        ('"12"', 12, None),
        ('W/"12"', 12, None),
        ("12", 12, None),
        ('"v12"', 12, None),
        ("*", None, None),
        ("2026-01-01T00:00:00Z", None, "2026-01-01T00:00:00Z"),
    ],
)
async def test_if_match_becomes_the_expected_version(
    client: Any, kernel: Any, given: str, version: int | None, instant: str | None
) -> None:
    await client.patch("/api/task/1", json={}, headers={"if-match": given})
    request = kernel.last[1]
    assert (request.if_version, request.if_updated_at) == (version, instant)


async def test_if_match_of_several_versions_is_refused(client: Any, kernel: Any) -> None:
    answer = await client.delete("/api/task/1", headers={"if-match": '"1", "2"'})
    assert answer.status_code == 400
    assert kernel.count == 0


async def test_a_version_conflict_is_412(client: Any, kernel: Any) -> None:
    kernel.answers["update"] = VersionConflict(object="task", id="1", current_version=5)
    answer = await client.patch("/api/task/1", json={}, headers={"if-match": '"4"'})
    assert answer.status_code == 412
    assert answer.json()["details"]["current_version"] == 5


async def test_delete_answers_the_id(client: Any) -> None:
    answer = await client.delete("/api/task/1")
    assert (answer.status_code, answer.content) == (200, b'{"id":"1","deleted":true}')


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "PUT"])
async def test_prefer_minimal_answers_204(client: Any, method: str) -> None:
    body = None if method == "DELETE" else b"{}"
    headers = {"prefer": "return=minimal"}
    answer = await client.request(method, "/api/task/1", content=body, headers=headers)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["preference-applied"] == "return=minimal"
    assert "content-length" not in answer.headers


async def test_query_takes_the_whole_language(client: Any, kernel: Any) -> None:
    body = {"where": {"n": {"$gt": 3}}, "orderBy": ["-n"], "limit": 5}
    answer = await client.post("/api/task/query", json=body)
    assert answer.json()["meta"] == {"size": 100, "has_next": False}
    query = kernel.last[1].query
    assert (query.object, query.limit, query.order_by[0].descending) == ("task", 5, True)


async def test_a_grouped_query_is_an_aggregate(client: Any, kernel: Any) -> None:
    body = {"groupBy": ["status"], "aggregations": [{"function": "count", "alias": "n"}]}
    answer = await client.post("/api/task/aggregate", json=body)
    assert answer.content == b'{"items":[{"n":2}]}'
    assert (kernel.last[0], kernel.last[1].query.limit) == ("aggregate", 1000)


async def test_an_aggregate_without_aggregations_is_refused(client: Any) -> None:
    answer = await client.post("/api/task/aggregate", json={})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_QUERY")


async def test_actions_of_records_and_objects(client: Any, kernel: Any) -> None:
    answer = await client.post("/api/task/1/actions/close", json={"why": "x"})
    assert answer.json() == {"ok": True}
    request = kernel.last[1]
    assert (request.object, request.id, request.action) == ("task", "1", "close")
    assert request.params == b'{"why":"x"}'
    await client.post("/api/task/actions/sweep")
    assert (kernel.last[1].id, kernel.last[1].params) == (None, b"{}")


async def test_headers_become_the_context(client: Any, kernel: Any) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await client.get(
        "/api/task/1",
        headers={
            "x-request-id": "r-7",
            "idempotency-key": "k",
            "oql-read-policy": "bounded:2",
            "oql-consistency-token": "1.default:16B",
            "traceparent": trace,
        },
    )
    context = kernel.last[2]
    assert (context.request_id, answer.headers["x-request-id"]) == ("r-7", "r-7")
    assert (context.actor.id, context.idempotency_key) == ("ann", "k")
    assert (context.read_policy, context.max_lag_ms) == (ReadPolicy.BOUNDED, 2000)
    assert context.consistency_token == "1.default:16B"
    assert context.trace == {"traceparent": trace}


async def test_who_names_neither_token_nor_policy_sees_what_was_written_here(
    client: Any, kernel: Any
) -> None:
    kernel.answers["delete"] = DeleteReply(id="1", consistency_token="1.default:16B")
    deleted = await client.delete("/api/task/1")
    assert deleted.headers["oql-consistency-token"] == "1.default:16B"
    await client.get("/api/task/1")
    assert kernel.last[2].recent_token == "1.default:16B"
    await client.get("/api/task/1", headers={"oql-read-policy": "any"})
    assert kernel.last[2].recent_token is None
    await client.get("/api/task/1", headers={"oql-consistency-token": "1.default:1"})
    context = kernel.last[2]
    assert (context.consistency_token, context.recent_token) == ("1.default:1", None)


async def test_the_token_of_a_write_contains_those_that_were_presented_with_it(
    client: Any, kernel: Any
) -> None:
    kernel.answers["delete"] = DeleteReply(id="1", consistency_token="1.default:16B")
    presented = {"oql-consistency-token": "1.default:17;b:1, 1.b:2"}
    answer = await client.delete("/api/task/1", headers=presented)
    assert kernel.last[2].consistency_token == "1.b:2;default:17"
    assert answer.headers["oql-consistency-token"] == "1.b:2;default:16B"
    answer = await client.delete("/api/task/1", headers={"oql-consistency-token": "1.a:1,mine"})
    assert answer.status_code == 400


async def test_a_write_is_keyed_only_by_its_caller(client: Any, kernel: Any) -> None:
    await client.post("/api/task", json={})
    assert kernel.last[2].idempotency_key is None
    await client.post("/api/task", json={}, headers={"idempotency-key": "mine"})
    assert kernel.last[2].idempotency_key == "mine"


async def test_the_time_limit_becomes_the_deadline(client: Any, kernel: Any, services: Any) -> None:
    before = services.clock.now_ms()
    await client.get("/api/task/1", headers={"x-timeout-ms": "2500"})
    assert 2400 < kernel.last[2].deadline_ms - before < 3500
    await client.get("/api/task/1", headers={"x-timeout-ms": "999999999"})
    assert kernel.last[2].deadline_ms - before < 62_000


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-timeout-ms", "soon"),
        ("x-timeout-ms", "0"),
        ("x-timeout-ms", "-1"),
        ("idempotency-key", "a b"),
        ("idempotency-key", "k" * 256),
        ("oql-read-policy", "nearest"),
        ("oql-consistency-token", "\xe9"),
        ("oql-consistency-token", "0/16B"),
    ],
)
async def test_headers_without_meaning_are_refused(
    client: Any, kernel: Any, header: str, value: str
) -> None:
    headers = [(header.encode(), value.encode("latin-1"))]
    answer = await client.get("/api/task/1", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")
    assert kernel.count == 0


async def test_errors_are_problem_documents(client: Any, kernel: Any) -> None:
    kernel.answers["create"] = ValidationFailed(
        object="task", issues=(Issue("title", "required", "title is required"),)
    )
    answer = await client.post("/api/task", json={}, headers={"x-request-id": "r-1"})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "urn:objectql:error:VALIDATION_FAILED",
        "title": "Bad Request",
        "status": 400,
        "detail": "1 problem in task",
        "code": "VALIDATION_FAILED",
        "errors": [{"path": "title", "code": "required", "message": "title is required"}],
        "request_id": "r-1",
        "details": {"object": "task"},
    }


async def test_unavailable_says_when_to_come_back(client: Any, kernel: Any) -> None:
    kernel.answers["get"] = Unavailable(what="the database", retry_after_ms=1200)
    answer = await client.get("/api/task/1")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json()["retry_after_ms"] == 1200


async def test_not_found_is_404(client: Any, kernel: Any) -> None:
    kernel.answers["get"] = RecordNotFound(object="task", id="9")
    answer = await client.get("/api/task/9")
    assert (answer.status_code, answer.json()["code"]) == (404, "RECORD_NOT_FOUND")


async def test_a_crash_in_the_kernel_tells_nothing_but_the_request_id(
    client: Any, kernel: Any
) -> None:
    kernel.answers["get"] = RuntimeError("password=hunter2")
    answer = await client.get("/api/task/1")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_head_is_get_without_the_body(client: httpx.AsyncClient) -> None:
    answer = await client.head("/api/task/1")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "22"


async def test_explain_is_answered_instead_of_the_records(client: Any, kernel: Any) -> None:
    listed = await client.get("/api/task?$filter=n gt 3&$explain=true")
    assert listed.json() == {"query": {}}
    verb, request, _ = kernel.last
    assert (verb, request.analyze, request.query.limit) == ("explain", False, 100)
    await client.post("/api/task/query?$explain=analyze", json={"where": {"n": 1}})
    assert (kernel.last[0], kernel.last[1].analyze) == ("explain", True)
    counted = {"aggregations": [{"function": "count"}]}
    await client.post("/api/task/aggregate?$explain=true", json=counted)
    assert kernel.last[1].query.is_aggregate
    refused = await client.get("/api/task?$explain=maybe")
    assert refused.json()["code"] == "INVALID_QUERY"


async def test_every_answer_says_what_it_took(client: Any, kernel: Any) -> None:
    kernel.answers["get"] = RecordReply(record=b"{}", id="1", version=3, timing=(30, 810, "db"))
    told = (await client.get("/api/task/1")).headers["server-timing"]
    assert told.startswith("plan;dur=0.03, db;dur=0.81, total;dur=")
    cached = RecordReply(record=b"{}", id="1", version=3, timing=(30, 310, "cache"))
    kernel.answers["get"] = cached
    told = (await client.get("/api/task/1")).headers["server-timing"]
    assert told.startswith("plan;dur=0.03, cache;dur=0.31, total;dur=")
    failed = await client.get("/api/nothing/at/all")
    assert failed.headers["server-timing"].startswith("total;dur=")


async def test_what_an_object_does_not_offer_is_405_with_what_it_does(
    client: Any, kernel: Any
) -> None:
    kernel.answers["find"] = MethodNotAllowed(method="list", allowed=("get", "create", "bulk"))
    answer = await client.get("/api/task")
    assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "POST"
