from __future__ import annotations

from typing import Any

import pytest

from objectql.context import Actor, Context
from objectql.drivers.memory import MemoryDriver
from objectql.errors import ObjectQLError, PermissionDenied
from objectql.kernel.kernel import Kernel
from objectql.query.parse import parse_query
from objectql.security.policy import FULL_ACCESS, FullAccess
from objectql.security.scoped import ScopedPolicies, ScopedPolicy
from objectql.wire.messages import (
    AggregateRequest,
    BulkRequest,
    BulkRow,
    CreateRequest,
    DeleteRequest,
    FindRequest,
    GetRequest,
    MetaPutRequest,
    SearchRequest,
    UpdateRequest,
)

OBJECTS = {
    "account": {"fields": {"name": {"type": "text", "searchable": True}}},
    "contact": {
        "fields": {
            "name": {"type": "text"},
            "account": {"type": "lookup", "reference": "account"},
        }
    },
}


def test_no_question_about_a_policy_passes_a_scope_by() -> None:
    """The base allows everything, so what is not answered anew would be allowed."""
    asked = {name for name in vars(FullAccess) if not name.startswith("_")}
    assert asked <= set(vars(ScopedPolicy)) | {"shape"}


def test_scopes_name_objects_and_operations_and_all_of_either() -> None:
    def allowed(*scopes: str) -> set[str]:
        policy = ScopedPolicies().narrowed(FULL_ACCESS, scopes)
        pairs = [(o, op) for o in ("a", "b") for op in ("create", "read", "update", "delete")]
        return {f"{o}:{op}" for o, op in pairs if policy.allows(op, o)}

    assert allowed() == set()
    assert allowed("a:read") == {"a:read"}
    assert allowed("a:*") == {"a:create", "a:read", "a:update", "a:delete"}
    assert allowed("*:read") == {"a:read", "b:read"}
    assert len(allowed("*:*")) == 8


def test_equal_scopes_share_a_policy_and_others_share_no_plan() -> None:
    policies = ScopedPolicies()
    one = policies.narrowed(FULL_ACCESS, ("a:read",))
    assert policies.narrowed(FULL_ACCESS, ("a:read",)) is one
    assert policies.narrowed(FULL_ACCESS, ("b:read",)).shape != one.shape != FULL_ACCESS.shape
    assert policies.narrowed(FULL_ACCESS, None) is FULL_ACCESS


async def test_every_operation_asks_for_the_scope() -> None:
    kernel = Kernel([MemoryDriver(), {"name": "crm", "objects": OBJECTS}])
    await kernel.start()
    account = await kernel.create("account", {"name": "Acme"})
    await kernel.create("contact", {"name": "Ann", "account": account["id"]})
    id_ = account["id"]

    async def outcome(operation: tuple[Any, Any], scopes: tuple[str, ...]) -> bool:
        actor = Actor(id="key", roles=("admin",), scopes=scopes)
        context = Context(actor=actor, deadline_ms=2**53, request_id="r")
        handle, request = operation
        try:
            reply = await handle(request, context)
        except PermissionDenied:
            return False
        errors = [row.error for row in getattr(reply, "results", ()) if row.error is not None]
        assert all(error.code == "PERMISSION_DENIED" for error in errors)
        return not errors

    def query(text: dict[str, object], object_: str = "account") -> FindRequest:
        return FindRequest(parse_query(text, object=object_))

    rows = (BulkRow(data=b'{"name":"x"}'),)
    needed: dict[str, list[tuple[Any, Any]]] = {
        "account:read": [
            (kernel.handle_find, query({})),
            (kernel.handle_get, GetRequest("account", id_)),
            (
                kernel.handle_aggregate,
                AggregateRequest(
                    parse_query(
                        {"aggregations": [{"function": "count", "alias": "n"}]}, object="account"
                    )
                ),
            ),
        ],
        "account:update": [(kernel.handle_update, UpdateRequest("account", id_, b'{"name":"B"}'))],
        "account:create": [
            (kernel.handle_create, CreateRequest("account", b'{"name":"C"}')),
            (kernel.handle_bulk, BulkRequest("account", "create", rows)),
        ],
        "account:delete": [(kernel.handle_delete, DeleteRequest("account", id_))],
    }
    others = ("account:execute", "contact:*", "*:execute")
    try:
        for scope, operations in needed.items():
            for operation in operations:
                elsewhere = tuple(s for s in (*needed, *others) if s != scope)
                assert not await outcome(operation, elsewhere), scope
                assert await outcome(operation, (scope,)), scope
        hits = await kernel.handle_search(
            SearchRequest("Acme"),
            Context(
                actor=Actor(id="key", roles=("admin",), scopes=("contact:read",)),
                deadline_ms=2**53,
                request_id="r",
            ),
        )
        assert b'"totalHits":0' in hits.body
        put = MetaPutRequest("object", "mine", b'{"fields":{"a":{"type":"text"}}}')
        assert not await outcome((kernel.handle_meta_put, put), ("*:*",))
    finally:
        await kernel.stop()


@pytest.mark.parametrize("text", [{"expand": ["account"]}, {"where": {"account.name": "Acme"}}])
async def test_relations_lead_no_further_than_the_scope(text: dict[str, object]) -> None:
    kernel = Kernel([MemoryDriver(), {"name": "crm", "objects": OBJECTS}])
    await kernel.start()
    account = await kernel.create("account", {"name": "Acme"})
    await kernel.create("contact", {"name": "Ann", "account": account["id"]})
    try:
        for scopes, is_seen in (
            (("contact:read", "account:read"), True),
            (("contact:read",), False),
        ):
            actor = Actor(id="key", roles=("admin",), scopes=scopes)
            context = Context(actor=actor, deadline_ms=2**53, request_id="r")
            request = FindRequest(parse_query(text, object="contact"))
            try:
                items = (await kernel.handle_find(request, context)).items
            except ObjectQLError:
                items = b""
            assert b"Ann" in items or not is_seen
            assert (b"Acme" in items) == (is_seen and "expand" in text)
    finally:
        await kernel.stop()
