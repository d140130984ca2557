"""Packages declare webhooks of the default tenant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from objectql.context import DEFAULT_TENANT, Context
from objectql.kernel.features import KernelSettings
from objectql.kernel.kernel import Kernel
from objectql.kernel.webhooks.policy import WebhookPolicy
from objectql.metadata.document import Document
from objectql.metadata.loader import LoadedPackage
from objectql.wire import webhooks as w

Ask = Callable[..., Context]

DECLARED: dict[str, Any] = {
    "label": "Accounts",
    "url": "https://127.0.0.1/hook",
    "objects": ["account"],
    "run_as": {"roles": ["viewer"]},
}


@pytest.fixture
def settings() -> KernelSettings:
    return KernelSettings(webhooks=WebhookPolicy(allow=("127.0.0.1",)))


async def publish(kernel: Kernel, **webhooks: dict[str, Any]) -> list[dict[str, Any]]:
    """The webhooks of the default tenant after a package with these was published."""
    documents = tuple(
        Document("told", "webhook", name, content) for name, content in webhooks.items()
    )
    await kernel.publish([LoadedPackage(name="told", items=documents, code_files=())])
    await kernel.webhooks.adopt()
    return await kernel.webhooks.admin.list(DEFAULT_TENANT)


async def test_declared_webhook_is_put_in_force_changed_and_switched_off(
    kernel: Kernel, ask: Ask
) -> None:
    (made,) = await publish(kernel, accounts=DECLARED)
    assert (made["name"], made["package"], made["active"]) == ("accounts", "told", True)
    assert await publish(kernel, accounts=DECLARED) == [made]  # nothing has changed
    (changed,) = await publish(kernel, accounts=DECLARED | {"events": ["deleted"]})
    assert (changed["id"], changed["events"]) == (made["id"], ("deleted",))
    off = w.WebhookChangeRequest("accounts", b'{"active":false}')
    await kernel.webhooks.handle_change(off, ask("admin"))
    (still,) = await publish(kernel, accounts=DECLARED)
    assert not still["active"]
    on = w.WebhookChangeRequest("accounts", b'{"active":true}')
    await kernel.webhooks.handle_change(on, ask("admin"))
    (gone,) = await publish(kernel)
    assert (gone["id"], gone["active"]) == (made["id"], False)
    assert "declare" in gone["disabled_because"]
    (back,) = await publish(kernel, accounts=DECLARED)
    assert (back["id"], back["active"]) == (made["id"], True)


async def test_package_takes_no_webhook_of_the_tenant_over(kernel: Kernel, ask: Ask) -> None:
    mine = {key: value for key, value in DECLARED.items() if key != "label"}
    document = msgspec.json.encode(mine | {"name": "accounts", "timeout_s": 3})
    await kernel.webhooks.handle_create(w.WebhookCreateRequest(document), ask("admin"))
    (found,) = await publish(kernel, accounts=DECLARED, other=DECLARED | {"url": "http://no"})
    assert (found["timeout_s"], "package" in found) == (3, False)
