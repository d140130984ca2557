"""Webhooks that packages declare, put in force in the default tenant.

Every kernel does so for the metadata that it takes over, and all come to the same: who is second
finds it done. What is not declared any more is switched off and not removed, so that a kernel that
is a moment behind loses nothing that was queued.
"""

from __future__ import annotations

import logging

from objectql.context import DEFAULT_TENANT
from objectql.errors import ObjectQLError
from objectql.kernel.engine import Engine
from objectql.kernel.webhooks.admin import WebhookAdmin
from objectql.kernel.webhooks.declaration import Declaration, converted
from objectql.kernel.webhooks.directory import WebhookDirectory
from objectql.metadata.model import Item

log = logging.getLogger(__name__)

_FOR_PEOPLE = ("label", "description")


async def adopt(engine: Engine, directory: WebhookDirectory, admin: WebhookAdmin) -> None:
    """Have the webhooks that the metadata in force declare; one that cannot be is logged."""
    found = engine.model.snapshot.list("webhook")
    wanted = {item.name: item for item in found if isinstance(item, Item)}
    await directory.refresh()
    known = directory.of_tenant(DEFAULT_TENANT)
    for item in wanted.values():
        content = {key: value for key, value in item.content.items() if key not in _FOR_PEOPLE}
        try:
            given = converted({**content, "name": item.name}, Declaration)
            await admin.declare(given, item.package or "custom")
        except ObjectQLError as exc:
            facts = {"webhook": item.name, "package": item.package, "reason": str(exc)}
            log.warning("webhook_not_adopted", extra=facts)
    for webhook in known:
        if webhook.package and webhook.name not in wanted:
            try:
                await admin.withdraw(webhook)
            except ObjectQLError as exc:  # another kernel has just done so
                log.info("webhook_not_withdrawn", extra={"reason": str(exc)})
