"""The security log tells who changed which webhook, and no secret of any."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from tests.webhooks import Ask, call, declare, delivering

from objectql.errors import ValidationFailed
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.kernel.webhooks.policy import WebhookPolicy
from objectql.testing.receivers import Received, Receiver, Reply, receiving
from objectql.wire import webhooks as w
from objectql.wire.audit import AuditListRequest


@pytest.fixture
def settings() -> KernelSettings:
    return KernelSettings(webhooks=WebhookPolicy(insecure=True, ports=(), allow=("127.0.0.1",)))


@pytest.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    async with receiving() as found:
        yield found


async def told(kernel: Kernel, ask: Ask) -> list[dict[str, Any]]:
    """Entries about webhooks, the first first."""
    reply = await kernel.audit.handle_list(AuditListRequest(), ask("admin"))
    return [one for one in json.loads(reply.items)[::-1] if one["kind"].startswith("webhook")]


async def test_every_change_of_a_webhook_is_told_without_its_secrets(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    url = f"{receiver.url}/path-is-secret?token=hidden"
    made = await declare(kernel, ask, receiver, url=url, headers={"X-Token": "hidden-value"})
    change = json.dumps({
        "url": url.replace("127.0.0.1", "localhost").replace("hidden", "hidden-too"),
        "headers": {"X-Token": "hidden-other"}, "run_as": {"roles": ["sales"]}, "active": False,
    }).encode()  # fmt: skip
    with pytest.raises(ValidationFailed):  # refused, and so not told
        await call(
            kernel, ask, "change", w.WebhookChangeRequest("crm", b'{"url":"http://10.0.0.1/"}')
        )
    await call(kernel, ask, "change", w.WebhookChangeRequest("crm", change))
    new = await call(kernel, ask, "rotate", w.WebhookRotateRequest("crm", b"{}"))
    await call(kernel, ask, "replay", w.WebhookReplayRequest("crm", b'{"dead":true}'))
    await call(kernel, ask, "delete", w.WebhookDeleteRequest("crm"))
    found = await told(kernel, ask)
    assert [(one["kind"], one["actor"]) for one in found] == [
        ("webhook_created", "u1"), ("webhook_changed", "u1"), ("webhook_secret_replaced", "u1"),
        ("webhook_replayed", "u1"), ("webhook_deleted", "u1"),
    ]  # fmt: skip
    assert {one["details"]["name"] for one in found} == {"crm"}
    changed = found[1]["details"]
    assert changed["roles"] == {"old": ["viewer"], "new": ["sales"]}
    assert changed["host"] == {"old": "127.0.0.1", "new": "localhost"}
    assert set(changed["fields"]) == {"url", "headers", "roles", "active"}
    text = json.dumps(found)
    for secret in ("hidden", "path-is-secret", made["secret"], new["secret"], "whsec"):
        assert secret not in text


async def test_webhook_that_switches_itself_off_is_told_of_nobody(
    kernel: Kernel, ask: Ask, receiver: Receiver
) -> None:
    async def gone(_request: Received) -> Reply:
        return Reply(410)

    receiver.answer = gone
    await declare(kernel, ask, receiver)
    await kernel.create("account", {"name": "A"})
    async with delivering(kernel):
        await receiver.until(lambda got: len(got) == 1)
        async with asyncio.timeout(30):
            while len(found := await told(kernel, ask)) < 2:
                await asyncio.sleep(0.02)
    assert found[1]["actor"] is None
    assert found[1]["details"]["active"] == {"old": True, "new": False}
