"""Whatever arrives, the answer is a typed refusal and never a 500."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from objectql.service.bodies import decode_document, is_nested_deeper
from objectql_gateway_rest.application import create_application


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a" 1}',
        b"NaN",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":1} x',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":1e999}',
        b"\xef\xbb\xbf{}",
        b"\x00",
        b'{"a":' * 20_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 65 + b"1" + b"}" * 65,
    ],
)
@pytest.mark.parametrize("path", ["/api/task", "/api/task/query", "/api/batch", "/api/objectql"])
async def test_malformed_json_is_400(client: Any, kernel: Any, path: str, body: bytes) -> None:
    answer = await client.post(path, content=body)
    assert answer.status_code == 400, answer.text
    assert kernel.count == 0


async def test_malformed_json_says_where(client: Any) -> None:
    answer = await client.post("/api/task", content=b'{"a" 1}')
    assert answer.json()["code"] == "INVALID_JSON"
    assert "byte 5" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/task/query", b'{"where":{"a":{"$gt":"x:y"},"a":1}}'),
        ("/api/task/query", b'{"where":{"a":1},"limit":1,"where":{}}'),
        ("/api/query", b'{"object":"task","where":{"$or":[{"a":1,"a":2}]}}'),
        ("/api/objectql", b'{"op":"find","object":"task","args":{"where":{"a":1,"a":2}}}'),
        ("/api/objectql", b'{"op":"count","object":"task","args":{"a":1,"a":2}}'),
        ("/api/v1/data/task/query", b'{"where":{"a":1,"a":2}}'),
        ("/api/data/task/bulk-delete", b'{"filters":{"a":1},"filters":{}}'),
        ("/api/data/task/bulk-update", b'{"filters":{"a":1,"a":2},"data":{"b":1}}'),
    ],
)
async def test_a_filter_of_which_half_would_be_lost_is_refused(
    client: Any, kernel: Any, path: str, body: bytes
) -> None:
    answer = await client.post(path, content=body)
    assert answer.status_code == 400, answer.text
    assert "INVALID_JSON" in answer.text
    assert kernel.count == 0


@pytest.mark.parametrize("filters", ["null", '""', "0", "false"])
async def test_a_deletion_of_all_is_never_asked_for_by_accident(
    client: Any, kernel: Any, filters: str
) -> None:
    body = f'{{"filters":{filters}}}'.encode()
    answer = await client.post("/api/data/task/bulk-delete", content=body)
    assert answer.status_code == 400, answer.text
    assert kernel.count == 0


@pytest.mark.parametrize("text", ['a":"b:c', '\\":{"', "::", "{}[]:,"])
def test_colons_in_strings_are_no_keys(text: str) -> None:
    document = {text: [{"k:": {text: 1}}, text]}
    assert decode_document(msgspec.json.encode(document), nesting=9) == document


@pytest.mark.parametrize("body", [b"1", b'"a"', b"null", b"true"])
@pytest.mark.parametrize("path", ["/api/task", "/api/task/query", "/api/task/bulk", "/api/batch"])
async def test_json_of_another_shape_is_400(client: Any, path: str, body: bytes) -> None:
    answer = await client.post(path, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    ("depth", "is_deeper"), [(1, False), (63, False), (64, False), (65, True), (200, True)]
)
def test_nesting_is_counted_in_levels(depth: int, is_deeper: bool) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")):
        levels = 2 if opening.startswith(b"[{") else 1
        body = opening * (depth // levels) + b"1" + closing * (depth // levels)
        expected = is_deeper if depth % levels == 0 else depth - 1 > 64
        assert is_nested_deeper(body, 64) is expected


def test_many_shallow_pairs_are_not_deep() -> None:
    assert not is_nested_deeper(b"[" + b"{}," * 1000 + b'"[[[["' + b"]", 2)


async def test_an_announced_body_over_the_limit_is_413_unread(client: Any, kernel: Any) -> None:
    asked_for = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal asked_for
        asked_for += 1
        yield b" " * 65_536

    headers = {"content-length": "1100000"}
    answer = await client.post("/api/task", content=parts(), headers=headers)
    assert (answer.status_code, answer.headers["connection"]) == (413, "close")
    assert (asked_for, kernel.count) == (0, 0)


async def test_a_chunked_body_over_the_limit_is_413_before_its_end(client: Any) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 65_536

    # httpx gathers the chunks of an endless stream only as far as the application asks.
    answer = await client.post("/api/task", content=endless())
    assert answer.status_code == 413
    assert sent < 20


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/nothing", 404),
        ("/api", 404),
        ("/api/", 404),
        ("/api/task/", 404),
        ("/api/task/1/2/3", 404),
        ("/api//task", 404),
        ("/api/task/%FF", 400),
        ("/api/%FF", 400),
        ("/api/task/%00", 400),
        ("/api/task%00", 400),
        ("/api/Task", 404),
        ("/api/task?a=%FF", 400),
        ("/api/task?$top=1e3", 400),
        ("/api/task?$top=-1", 400),
        ("/api/task?$skip=99999999999999999999999", 400),
        ("/api/task?$filter=n%20gt", 400),
        ("/api/task?$nope=1", 400),
        ("/api/task?" + "a=1&" * 300, 400),
        ("/api/task?a=" + "x" * 20_000, 400),
        ("/api/task/" + "x" * 300, 404),
        ("/api/../etc/passwd", 404),
    ],
)
async def test_odd_paths_and_queries_are_refused(
    client: Any, kernel: Any, path: str, status: int
) -> None:
    answer = await client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert kernel.count == 0


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"],
)
async def test_a_body_that_is_not_json_is_415(client: Any, content_type: str) -> None:
    answer = await client.post("/api/task", content=b"{}", headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=UTF-8", "application/merge-patch+json", "text/json"]
)
async def test_json_under_its_other_names_is_read(client: Any, content_type: str) -> None:
    answer = await client.post("/api/task", content=b"{}", headers={"content-type": content_type})
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("DELETE", "/api/task", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/api/task/1", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("TRACE", "/api/task/1", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("GET", "/api/batch", "OPTIONS, POST"),
        ("PUT", "/openapi.json", "GET, HEAD, OPTIONS"),
    ],
)
async def test_other_methods_are_405_with_the_allowed_ones(
    client: Any, method: str, path: str, allow: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    assert answer.json()["code"] == "METHOD_NOT_ALLOWED"


async def test_options_tells_the_methods_without_a_token(client: Any) -> None:
    answer = await client.options("/api/task", headers={"authorization": ""})
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    assert (await client.options("/nothing")).status_code == 404


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer bad", "bad"])
async def test_every_bad_token_gets_the_same_401(client: Any, kernel: Any, given: str) -> None:
    headers = {"authorization": given, "x-request-id": "r"}
    answer = await client.get("/api/task/1", headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json() == {
        "type": "urn:objectql:error:UNAUTHENTICATED",
        "title": "Unauthorized",
        "status": 401,
        "detail": "valid credentials are required",
        "code": "UNAUTHENTICATED",
        "errors": [],
        "request_id": "r",
    }
    assert kernel.count == 0


@pytest.mark.parametrize("given", ["a\tb", "<script>", "x" * 200, "é"])
async def test_a_request_id_that_could_hurt_a_log_is_replaced(client: Any, given: str) -> None:
    headers = [(b"x-request-id", given.encode())]
    answer = await client.get("/api/task/1", headers=headers)
    assert answer.headers["x-request-id"] != given
    assert len(answer.headers["x-request-id"]) == 36


async def test_a_client_that_hangs_up_gets_no_answer(services: Any, kernel: Any) -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/task",
        "raw_path": b"/api/task",
        "query_string": b"",
        "headers": [(b"host", b"x"), (b"authorization", b"Bearer ann")],
    }
    await create_application(services)(scope, receive, send)
    assert sent == []
    assert kernel.count == 0
