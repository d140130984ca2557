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


class TenantMetadataRequest(Message, frozen=True):
    """Verb `tenant_metadata`: all that a tenant has of its own, or one document of it.

    Answered by `JsonReply`, whose version is that of the tenant's metadata.
    """

    id: str
    type: str | None = None
    name: str | None = None


class TenantMetadataPutRequest(Message, frozen=True):
    """Verb `tenant_metadata_put`: publish a document (JSON); answered by `MetaWriteReply`."""

    id: str
    type: str
    name: str
    document: bytes
    if_version: int | None = None


class TenantMetadataDeleteRequest(Message, frozen=True):
    """Verb `tenant_metadata_delete`: take a document back; answered by `MetaWriteReply`."""

    id: str
    type: str
    name: str
    if_version: int | None = None


class TenantPurgeRequest(Message, frozen=True):
    """Verb `tenant_metadata_purge`: delete what is retired; answered by `JsonReply`."""

    id: str


class TenantSnapshotRequest(Message, frozen=True):
    """Verb `tenant_snapshot`: what a tenant has of its own, for gateways; answered by
    `SnapshotReply`, whose `version` counts the tenant's publications, 0 where it has nothing.
    `digest` is that of what the caller has, which is told again only where it differs: a number
    tells nothing once the tenant's id is another's.
    """

    tenant: str
    digest: str = ""
