"""The verbs of the bus and what answers them. Translation only."""

from __future__ import annotations

from typing import Any

from objectql.bus.server import Verb
from objectql.kernel.identity.identity import Identity
from objectql.kernel.kernel import Kernel
from objectql.kernel.webhooks.operations import Webhooks
from objectql.wire import audit as a
from objectql.wire import cluster as c
from objectql.wire import identity as i
from objectql.wire import live as l
from objectql.wire import messages as m
from objectql.wire import tenants as t
from objectql.wire import transactions as x
from objectql.wire import webhooks as w


def verbs(kernel: Kernel) -> dict[str, Verb[Any]]:
    """Every verb. Writes watch the deadline themselves, up to the commit that must not be cut."""
    tenancy = kernel.tenancy
    return {
        "find": Verb(m.FindRequest, kernel.handle_find),
        "get": Verb(m.GetRequest, kernel.handle_get),
        "aggregate": Verb(m.AggregateRequest, kernel.handle_aggregate),
        "export": Verb(m.ExportRequest, kernel.handle_export),
        "explain": Verb(m.ExplainRequest, kernel.handle_explain),
        "history": Verb(m.HistoryRequest, kernel.handle_history),
        "shares": Verb(m.SharesRequest, kernel.handle_shares),
        "share": Verb(m.ShareRequest, kernel.handle_share, is_bounded=False),
        "search": Verb(m.SearchRequest, kernel.handle_search),
        "permissions": Verb(m.PermissionsRequest, kernel.handle_permissions),
        "explain_access": Verb(m.ExplainAccessRequest, kernel.handle_explain_access),
        "create": Verb(m.CreateRequest, kernel.handle_create, is_bounded=False),
        "update": Verb(m.UpdateRequest, kernel.handle_update, is_bounded=False),
        "delete": Verb(m.DeleteRequest, kernel.handle_delete, is_bounded=False),
        "bulk": Verb(m.BulkRequest, kernel.handle_bulk, is_bounded=False),
        "write_where": Verb(m.WhereWriteRequest, kernel.handle_write_where, is_bounded=False),
        "batch": Verb(m.BatchRequest, kernel.handle_batch, is_bounded=False),
        "transaction": Verb(x.TransactionRequest, kernel.handle_transaction),
        "clone": Verb(m.CloneRequest, kernel.handle_clone, is_bounded=False),
        "action": Verb(m.ActionRequest, kernel.handle_action, is_bounded=False),
        "meta_types": Verb(m.MetaTypesRequest, kernel.handle_meta_types),
        "meta_list": Verb(m.MetaListRequest, kernel.handle_meta_list),
        "meta_get": Verb(m.MetaGetRequest, kernel.handle_meta_get),
        "meta_put": Verb(m.MetaPutRequest, kernel.handle_meta_put, is_bounded=False),
        "meta_delete": Verb(m.MetaDeleteRequest, kernel.handle_meta_delete, is_bounded=False),
        "view": Verb(m.ViewRequest, kernel.handle_view),
        "live_bind": Verb(l.LiveBindRequest, kernel.handle_live_bind),
        "live_standing": Verb(l.StandingRequest, kernel.handle_live_standing),
        "live_unpublished": Verb(l.UnpublishedRequest, kernel.handle_live_unpublished),
        "snapshot": Verb(m.SnapshotRequest, kernel.handle_snapshot),
        "tenant_list": Verb(t.TenantListRequest, tenancy.handle_list),
        "tenant_get": Verb(t.TenantGetRequest, tenancy.handle_get),
        "tenant_usage": Verb(t.TenantUsageRequest, tenancy.handle_usage),
        "tenant_create": Verb(t.TenantCreateRequest, tenancy.handle_create, is_bounded=False),
        "tenant_change": Verb(t.TenantChangeRequest, tenancy.handle_change, is_bounded=False),
        "tenant_delete": Verb(t.TenantDeleteRequest, tenancy.handle_delete, is_bounded=False),
        "tenant_export": Verb(t.TenantExportRequest, tenancy.handle_export),
        "tenant_snapshot": Verb(t.TenantSnapshotRequest, tenancy.handle_snapshot),
        "tenant_metadata": Verb(t.TenantMetadataRequest, tenancy.handle_metadata),
        "tenant_metadata_put": Verb(
            t.TenantMetadataPutRequest, tenancy.handle_metadata_put, is_bounded=False
        ),
        "tenant_metadata_delete": Verb(
            t.TenantMetadataDeleteRequest, tenancy.handle_metadata_delete, is_bounded=False
        ),
        "tenant_metadata_purge": Verb(
            t.TenantPurgeRequest, tenancy.handle_metadata_purge, is_bounded=False
        ),
        "audit_list": Verb(a.AuditListRequest, kernel.audit.handle_list),
        "audit_verify": Verb(a.AuditVerifyRequest, kernel.audit.handle_verify),
        **_identity_verbs(kernel.identity),
        **_webhook_verbs(kernel.webhooks),
    }


def parts_verbs(kernel: Kernel) -> dict[str, Verb[Any]]:
    """What coordinators may ask; gateways may not."""
    return {
        "sources": Verb(x.SourcesRequest, kernel.parts.handle_sources),
        "prepared": Verb(x.PreparedRequest, kernel.parts.handle_prepared),
        "finish": Verb(x.FinishRequest, kernel.parts.handle_finish, is_bounded=False),
        "commanded": Verb(c.Commanded, kernel.audit.handle_commanded),
    }


def _webhook_verbs(webhooks: Webhooks) -> dict[str, Verb[Any]]:
    return {
        "webhook_list": Verb(w.WebhookListRequest, webhooks.handle_list),
        "webhook_get": Verb(w.WebhookGetRequest, webhooks.handle_get),
        "webhook_create": Verb(w.WebhookCreateRequest, webhooks.handle_create),
        "webhook_change": Verb(w.WebhookChangeRequest, webhooks.handle_change),
        "webhook_delete": Verb(w.WebhookDeleteRequest, webhooks.handle_delete, is_bounded=False),
        "webhook_rotate": Verb(w.WebhookRotateRequest, webhooks.handle_rotate, is_bounded=False),
        "webhook_test": Verb(w.WebhookTestRequest, webhooks.handle_test),
        "webhook_deliveries": Verb(w.WebhookDeliveriesRequest, webhooks.handle_deliveries),
        "webhook_replay": Verb(w.WebhookReplayRequest, webhooks.handle_replay, is_bounded=False),
    }


def _identity_verbs(identity: Identity) -> dict[str, Verb[Any]]:
    """Sign-ins are cut off at the deadline, or a flood of them would outlive its callers."""
    return {
        "auth_sign_in": Verb(i.SignInRequest, identity.handle_sign_in),
        "auth_refresh": Verb(i.RefreshRequest, identity.handle_refresh, is_bounded=False),
        "auth_sign_out": Verb(i.SignOutRequest, identity.handle_sign_out, is_bounded=False),
        "auth_password": Verb(i.PasswordRequest, identity.handle_password, is_bounded=False),
        "auth_me": Verb(i.MeRequest, identity.handle_me),
        "auth_users": Verb(i.UserListRequest, identity.handle_users),
        "auth_user_create": Verb(
            i.UserCreateRequest, identity.handle_user_create, is_bounded=False
        ),
        "auth_user_update": Verb(
            i.UserUpdateRequest, identity.handle_user_update, is_bounded=False
        ),
        "auth_user_delete": Verb(
            i.UserDeleteRequest, identity.handle_user_delete, is_bounded=False
        ),
        "auth_keys": Verb(i.KeyListRequest, identity.handle_keys),
        "auth_key_create": Verb(i.KeyCreateRequest, identity.handle_key_create, is_bounded=False),
        "auth_key_update": Verb(i.KeyUpdateRequest, identity.handle_key_update, is_bounded=False),
        "auth_key_delete": Verb(i.KeyDeleteRequest, identity.handle_key_delete, is_bounded=False),
        "auth_revoke": Verb(i.RevokeRequest, identity.handle_revoke, is_bounded=False),
        "auth_resolve_key": Verb(i.ResolveKeyRequest, identity.handle_resolve_key),
        "auth_state": Verb(i.IdentityStateRequest, identity.handle_state),
    }
