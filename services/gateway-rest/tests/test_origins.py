"""The audit hears from where a request comes."""

from __future__ import annotations

from typing import Any

import pytest

from objectql.service.origins import agent_class


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux) Firefox/140.0", "browser"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1)", "bot"),
        ("curl/8.5.0", "command"),
        ("python-httpx/0.28", "program"),
        ("", "none"),
        ("\x00weird", "program"),
    ],
)
def test_programs_have_classes(agent: str, name: str) -> None:
    assert agent_class(agent) == name


async def test_every_request_carries_where_it_came_from(client: Any, kernel: Any) -> None:
    await client.get("/api/task/1", headers={"user-agent": "curl/8", "x-forwarded-for": "6.6.6.6"})
    assert kernel.last[2].origin == "command 127.0.0.1"
