"""Administration of webhooks over HTTP: translation only."""

from __future__ import annotations

from typing import Any

import pytest

from objectql.errors import PermissionDenied, RecordNotFound
from objectql.wire import webhooks as w
from objectql.wire.messages import JsonReply

PATH = "/api/admin/webhooks"


@pytest.mark.parametrize(
    ("method", "path", "body", "verb", "request_", "status"),
    [
        ("GET", "", None, "list", w.WebhookListRequest(), 200),
        ("POST", "", {"name": "a"}, "create", w.WebhookCreateRequest(b'{"name":"a"}'), 201),
        ("GET", "/a", None, "get", w.WebhookGetRequest("a"), 200),
        ("PATCH", "/a", {"x": 1}, "change", w.WebhookChangeRequest("a", b'{"x":1}'), 200),
        ("DELETE", "/a", None, "delete", w.WebhookDeleteRequest("a"), 204),
        ("POST", "/a/rotate", {}, "rotate", w.WebhookRotateRequest("a", b"{}"), 200),
        ("POST", "/a/test", {}, "test", w.WebhookTestRequest("a"), 200),
        ("GET", "/a/deliveries", None, "deliveries", w.WebhookDeliveriesRequest("a"), 200),
        (
            "GET", "/a/deliveries?state=dead&after=7&limit=3", None, "deliveries",
            w.WebhookDeliveriesRequest("a", "dead", 7, 3), 200,
        ),
        (
            "POST", "/a/replay", {"dead": True}, "replay",
            w.WebhookReplayRequest("a", b'{"dead":true}'), 200,
        ),
    ],
)  # fmt: skip
async def test_each_operation_is_one_request_to_the_kernel(
    client: Any,
    kernel: Any,
    method: str,
    path: str,
    body: Any,
    verb: str,
    request_: Any,
    status: int,
) -> None:
    kernel.answers[f"webhook_{verb}"] = JsonReply(b'{"told":1}')
    answer = await client.request(method, PATH + path, json=body)
    assert answer.status_code == status, answer.text
    assert kernel.last[:2] == (f"webhook_{verb}", request_)
    if status != 204:
        assert answer.json() == ({"items": {"told": 1}} if verb == "list" else {"told": 1})


async def test_refusals_come_through(client: Any, kernel: Any) -> None:
    kernel.answers["webhook_get"] = RecordNotFound(object="webhook", id="a")
    assert (await client.get(f"{PATH}/a")).status_code == 404
    kernel.answers["webhook_list"] = PermissionDenied(operation="administer", object="webhooks")
    assert (await client.get(PATH)).status_code == 403


async def test_parameters_without_meaning_are_refused(client: Any) -> None:
    for query in ("limit=many", "after=-1", "after=" + "9" * 19, "top=1"):
        assert (await client.get(f"{PATH}/a/deliveries?{query}")).status_code == 400, query
