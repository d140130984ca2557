from __future__ import annotations

from typing import Any

import pytest

from objectql.errors import NotSupported
from objectql.wire.messages import HistoryRequest, PageReply


async def test_a_history_is_passed_on_as_a_page(client: Any, kernel: Any) -> None:
    kernel.answers["history"] = PageReply(b'[{"id":"e"}]', 1, 2, has_next=True, next="c")
    answer = await client.get("/api/task/1/history?$top=2&$after=abc")
    assert answer.content == (
        b'{"items":[{"id":"e"}],"meta":{"size":2,"has_next":true,"next":"c"}}'
    )
    assert kernel.last[:2] == ("history", HistoryRequest("task", "1", 2, "abc"))


async def test_a_history_has_the_kernels_page_size_unless_told(client: Any, kernel: Any) -> None:
    await client.get("/api/task/1/history")
    assert kernel.last[1] == HistoryRequest("task", "1")


@pytest.mark.parametrize("query", ["$filter=n gt 1", "$select=n", "$skip=1", "$explain=true"])
async def test_a_history_cannot_be_queried(client: Any, kernel: Any, query: str) -> None:
    answer = await client.get(f"/api/task/1/history?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_QUERY")
    assert kernel.count == 0


async def test_the_history_of_an_object_without_one_is_not_implemented(
    client: Any, kernel: Any
) -> None:
    kernel.answers["history"] = NotSupported(feature="that")
    assert (await client.get("/api/task/1/history")).status_code == 501
