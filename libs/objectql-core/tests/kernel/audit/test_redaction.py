"""Of redacted fields a history tells that they changed, to everybody, and never a value."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.drivers.protocol import Driver
from objectql.kernel.kernel import Kernel
from objectql.wire.messages import HistoryRequest

APP: dict[str, Any] = {
    "name": "bank",
    "objects": {
        "person": {
            "enable": {"trackHistory": True},
            "audit": {"redact": ["card", "income"]},
            "fields": {
                "name": {"type": "text"},
                "card": {"type": "text"},
                "income": {"type": "number", "scale": 0},
            },
        }
    },
    "permissions": {
        "person": {
            "object": "person",
            "object_permissions": {"read": ["*"]},
            "field_masking": {"card": {"mask_format": "*-{last4}", "visible_to": ["boss"]}},
        },
    },
}


def who(*roles: str) -> Context:
    return Context(Actor(id="u1", roles=roles), SystemClock().now_ms() + 3_600_000, "r1")


@pytest.fixture
async def kernel(driver: Driver) -> AsyncGenerator[Kernel]:
    kernel = Kernel([driver, APP])
    await kernel.start()
    yield kernel
    await kernel.stop()


@pytest.mark.parametrize("role", ["admin", "boss", "clerk"])
async def test_nobody_is_told_what_was_redacted_masked_or_not(kernel: Kernel, role: str) -> None:
    await kernel.create("person", {"id": "ann", "name": "Ann", "card": "4111-1234", "income": 900})
    await kernel.update("person", "ann", {"card": "4111-5678"})
    await kernel.update("person", "ann", {"income": 1000, "name": "Anne"})
    reply = await kernel.handle_history(HistoryRequest("person", "ann"), who(role))
    found = [entry["changes"] for entry in json.loads(reply.items)]
    marker, changed = "[redacted]", "[redacted, changed]"
    assert found == [
        {"name": {"old": "Ann", "new": "Anne"}, "income": {"old": marker, "new": changed}},
        {"card": {"old": marker, "new": changed}},
        {
            "name": {"old": None, "new": "Ann"},
            "card": {"old": None, "new": marker},
            "income": {"old": None, "new": marker},
        },
    ]
