"""The verbs of the bus and what answers them. Translation only."""

from __future__ import annotations

from typing import Any

from objectql.bus.server import Verb
from objectql.kernel.kernel import Kernel
from objectql.wire import messages as m
from objectql.wire import tenants as t


def verbs(kernel: Kernel) -> dict[str, Verb[Any]]:
    """Every verb. Writes watch the deadline themselves, up to the commit that must not be cut."""
    tenancy = kernel.tenancy
    return {
        "find": Verb(m.FindRequest, kernel.handle_find),
        "get": Verb(m.GetRequest, kernel.handle_get),
        "aggregate": Verb(m.AggregateRequest, kernel.handle_aggregate),
        "explain": Verb(m.ExplainRequest, kernel.handle_explain),
        "search": Verb(m.SearchRequest, kernel.handle_search),
        "create": Verb(m.CreateRequest, kernel.handle_create, is_bounded=False),
        "update": Verb(m.UpdateRequest, kernel.handle_update, is_bounded=False),
        "delete": Verb(m.DeleteRequest, kernel.handle_delete, is_bounded=False),
        "bulk": Verb(m.BulkRequest, kernel.handle_bulk, is_bounded=False),
        "write_where": Verb(m.WhereWriteRequest, kernel.handle_write_where, is_bounded=False),
        "batch": Verb(m.BatchRequest, kernel.handle_batch, is_bounded=False),
        "clone": Verb(m.CloneRequest, kernel.handle_clone, is_bounded=False),
        "action": Verb(m.ActionRequest, kernel.handle_action, is_bounded=False),
        "meta_types": Verb(m.MetaTypesRequest, kernel.handle_meta_types),
        "meta_list": Verb(m.MetaListRequest, kernel.handle_meta_list),
        "meta_get": Verb(m.MetaGetRequest, kernel.handle_meta_get),
        "meta_put": Verb(m.MetaPutRequest, kernel.handle_meta_put, is_bounded=False),
        "meta_delete": Verb(m.MetaDeleteRequest, kernel.handle_meta_delete, is_bounded=False),
        "view": Verb(m.ViewRequest, kernel.handle_view),
        "snapshot": Verb(m.SnapshotRequest, kernel.handle_snapshot),
        "tenant_list": Verb(t.TenantListRequest, tenancy.handle_list),
        "tenant_get": Verb(t.TenantGetRequest, tenancy.handle_get),
        "tenant_create": Verb(t.TenantCreateRequest, tenancy.handle_create, is_bounded=False),
        "tenant_change": Verb(t.TenantChangeRequest, tenancy.handle_change, is_bounded=False),
        "tenant_delete": Verb(t.TenantDeleteRequest, tenancy.handle_delete, is_bounded=False),
        "tenant_export": Verb(t.TenantExportRequest, tenancy.handle_export),
    }
