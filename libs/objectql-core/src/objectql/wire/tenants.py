"""Requests of tenant administration; all need the role `system`. See `messages`."""

from __future__ import annotations

from objectql.wire.messages import Message


class TenantListRequest(Message, frozen=True):
    """Verb `tenant_list`; answered by `JsonReply` with a list of tenants by id, after `after`."""

    after: str = ""
    limit: int = 100


class TenantGetRequest(Message, frozen=True):
    """Verb `tenant_get`; answered by `JsonReply` with the tenant."""

    id: str


class TenantUsageRequest(Message, frozen=True):
    """Verb `tenant_usage`; answered by `JsonReply` with what the tenant uses."""

    id: str


class TenantCreateRequest(Message, frozen=True):
    """Verb `tenant_create`: `document` is JSON; answered by `JsonReply` with the tenant."""

    document: bytes


class TenantChangeRequest(Message, frozen=True):
    """Verb `tenant_change`: `document` holds what changes; answered by `JsonReply`."""

    id: str
    document: bytes


class TenantDeleteRequest(Message, frozen=True):
    """Verb `tenant_delete`; `confirm` repeats the id of a tenant that is not suspended."""

    id: str
    confirm: str | None = None


class TenantDeleteReply(Message, frozen=True):
    id: str


class TenantExportRequest(Message, frozen=True):
    """Verb `tenant_export`: the lines of the export from a place on; None is the beginning."""

    id: str
    object: str | None = None
    after: str | None = None


class TenantExportReply(Message, frozen=True):
    """Lines of JSON, and where the next request goes on; `object` None is the end."""

    lines: bytes
    object: str | None = None
    after: str | None = None


class TenantsChanged(Message, frozen=True):
    """On `kernel_event("tenants")`."""

    version: int
    origin: str
