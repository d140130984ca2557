"""What the security log is told of webhooks: who had whom told of what, and as whom.

A URL is told by its host: what stands behind it is a secret of many receivers. Of headers and
secrets it is told that they changed.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from objectql.clock import Clock
from objectql.context import Context
from objectql.drivers.security_log import SecurityEntry, SecurityKind
from objectql.drivers.webhooks import Webhook
from objectql.kernel.audit.entries import changed_fields, entry_of
from objectql.values import instant_of_ms

_TOLD: Final = ("objects", "events", "fields", "roles", "user", "active", "disabled_because")


def entry(
    kind: SecurityKind, by: Context | None, webhook: Webhook, clock: Clock, /, **details: Any
) -> SecurityEntry:
    """What was done to a webhook, by the caller of a request, or by the system itself (None)."""
    told: dict[str, Any] = {"id": webhook.id, "name": webhook.name, **details}
    if by is not None:
        return entry_of(kind, by, clock, **told)
    at = instant_of_ms(clock.now_ms())
    return SecurityEntry(tenant=webhook.tenant, kind=kind, at=at, actor="", details=told)


def created(by: Context | None, webhook: Webhook, clock: Clock) -> SecurityEntry:
    """A webhook, as it begins."""
    seen = {"roles": webhook.roles} if webhook.user is None else {"user": webhook.user}
    told = {"host": _host(webhook), "objects": webhook.objects, **seen}
    return entry("webhook_created", by, webhook, clock, **told)


def changed(by: Context | None, before: Webhook, after: Webhook, clock: Clock) -> SecurityEntry:
    """What is different now."""
    told = changed_fields(before, after, _TOLD)
    if _host(before) != _host(after):
        told["host"] = {"old": _host(before), "new": _host(after)}
    return entry("webhook_changed", by, after, clock, **told)


def _host(webhook: Webhook) -> str:
    return urlsplit(webhook.url).hostname or ""
