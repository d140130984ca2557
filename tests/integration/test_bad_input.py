"""Hostile requests get a 4xx with a code and a place; nothing is written, nothing is a 500."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from tests.clusters import body

from objectql_devstack.cluster import Cluster

pytestmark = pytest.mark.servers

DEEP = b'{"name":' * 5000 + b"1" + b"}" * 5000

BODIES: dict[str, bytes] = {
    "no JSON": b"{name: 1}",
    "cut off": b'{"name": "a',
    "empty": b"",
    "array of numbers": b"[1]",
    "text": b'"a"',
    "NaN": b'{"name": "x", "employees": NaN}',
    "infinity": b'{"name": "x", "employees": 1e999}',
    "huge integer": b'{"name": "x", "employees": 123456789012345678901234567890}',
    "NUL": b'{"name": "a\\u0000b"}',
    "lone surrogate": b'{"name": "\\ud800"}',
    "bad UTF-8": b'{"name": "\xff\xfe"}',
    "deep": DEEP,
    "wrong types": b'{"name": 1, "active": "yes", "tags": "x", "employees": "many"}',
    "unknown field": b'{"name": "x", "nmae": "y"}',
    "tenant": b'{"name": "x", "tenant_id": "other"}',
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_bad_body_is_refused_with_a_code(api: httpx.AsyncClient, name: str) -> None:
    before = await total(api)
    answer = await api.post("/api/account", content=BODIES[name])
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:500])
    assert answer.json()["code"]
    assert await total(api) == before


async def total(api: httpx.AsyncClient) -> int:
    return (await api.get("/api/account", params={"$top": 0, "$count": "true"})).json()["meta"][
        "total"
    ]


QUERIES: dict[str, dict[str, Any]] = {
    "unknown field": {"$filter": "nmae eq 'x'"},
    "unknown operator": {"$filter": "name is 'x'"},
    "unbalanced": {"$filter": "(name eq 'x'"},
    "wrong type": {"$filter": "employees gt 'many'"},
    "regex": {"$filter": '{"name": {"$regex": ".*"}}'},
    "empty operator map": {"$filter": '{"name": {}}'},
    "negative top": {"$top": "-1"},
    "huge top": {"$top": "1000000"},
    "fractional skip": {"$skip": "1.5"},
    "unknown parameter": {"$fliter": "name eq 'x'"},
    "unknown sort": {"$orderby": "nmae"},
    "unknown expand": {"$expand": "nothing"},
    "foreign cursor": {"$after": "bm90aGluZw"},
    "NUL": {"$filter": "name eq 'a\0b'"},
    "deep": {"$filter": "(" * 200 + "name eq 'x'" + ")" * 200},
    "long": {"$filter": "name eq '" + "x" * 9000 + "'"},
    "hidden tenant": {"$filter": "tenant_id eq 'default'"},
}


@pytest.mark.parametrize("name", QUERIES)
async def test_a_bad_query_is_refused_with_a_code(api: httpx.AsyncClient, name: str) -> None:
    answer = await api.get("/api/account", params=QUERIES[name])
    assert answer.status_code == 400, (answer.status_code, answer.text[:500])
    assert answer.json()["code"]


async def test_near_misses_are_suggested(api: httpx.AsyncClient) -> None:
    answer = await api.get("/api/account", params={"$filter": "industri eq 'x'"})
    assert "industry" in answer.text
    unknown = await api.get("/api/acount")
    assert unknown.status_code == 404
    assert "account" in unknown.text


async def status_line(cluster: Cluster, framing: str, start_of_body: bytes) -> bytes:
    """What the gateway answers to a POST of which no more than the start of the body is sent."""
    url = urlsplit(cluster.env["OQL_REST_URL"])
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    head = (
        "POST /api/account HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {cluster.env['OQL_ADMIN_TOKEN']}\r\n{framing}\r\n\r\n"
    )
    writer.write(head.encode() + start_of_body)
    async with asyncio.timeout(5):
        status = await reader.readline()
    writer.close()
    return status


async def test_a_body_over_the_limit_is_413_before_it_is_read(cluster: Cluster) -> None:
    assert b" 413 " in await status_line(cluster, "Content-Length: 1000000000", b"{")


async def test_a_chunked_body_is_413_as_soon_as_it_is_over_the_limit(cluster: Cluster) -> None:
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    assert b" 413 " in await status_line(cluster, "Transfer-Encoding: chunked", chunk * 17)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/account/%00", 400),
        ("GET", "/api/account/%ff", 400),
        ("GET", "/nowhere", 404),
        ("TRACE", "/api/account", 405),
        ("DELETE", "/api/account", 405),
        ("POST", "/api/account/x/actions/nothing", 404),
    ],
)
async def test_odd_requests(api: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    answer = await api.request(method, path, content=body({}) if method == "POST" else None)
    assert answer.status_code == status, answer.text


async def test_without_a_token_there_is_nothing(cluster: Cluster) -> None:
    async with httpx.AsyncClient(base_url=cluster.env["OQL_REST_URL"]) as anonymous:
        for path in ("/api/account", "/api/account/acme", "/api/nothing", "/api/meta"):
            assert (await anonymous.get(path)).status_code == 401


HUGE = 10**30

BODIES_BY_PATH: dict[str, tuple[str, str, Any]] = {
    "NUL in the id of a batch": (
        *("POST", "/api/batch"),
        {"operations": [{"object": "account", "action": "update", "id": "\0", "data": {}}]},
    ),
    "huge version in a batch": (
        *("POST", "/api/batch"),
        {"operations": [{"object": "account", "action": "delete", "id": "a", "if_version": HUGE}]},
    ),
    "huge reference in a batch": (
        *("POST", "/api/batch"),
        {"operations": [{"object": "account", "action": "delete", "id": {"$ref": HUGE}}]},
    ),
    "huge version in bulk": (
        *("POST", "/api/account/bulk"),
        {"operation": "delete", "records": [{"id": "a", "if_version": HUGE}]},
    ),
    "NUL in a question to the audit log": ("GET", "/api/admin/audit?actor=%00", None),
    "NUL in the event to be told again": (
        *("POST", "/api/admin/webhooks/nothing/replay"),
        {"event": "\0"},
    ),
    "huge number in metadata": (
        *("PUT", "/api/meta/object/poison"),
        {"fields": {"name": {"type": "text", "max_length": HUGE}}},
    ),
    "huge precision in metadata": (
        *("PUT", "/api/meta/object/poison"),
        {"fields": {"name": {"type": "number", "scale": 2, "precision": 1001}}},
    ),
    "NUL in metadata": (
        *("PUT", "/api/meta/object/poison"),
        {"fields": {"name": {"type": "text", "defaultValue": "\0"}}},
    ),
}


@pytest.mark.parametrize("name", BODIES_BY_PATH)
async def test_what_cannot_be_stored_is_refused_wherever_it_stands(
    api: httpx.AsyncClient, name: str
) -> None:
    method, path, content = BODIES_BY_PATH[name]
    answer = await api.request(method, path, content=None if content is None else body(content))
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:500])
    assert answer.json()["code"]
