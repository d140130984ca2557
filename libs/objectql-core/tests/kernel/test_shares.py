"""Records shared by hand, on every driver: what a share gives, and what nobody can get by one."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.drivers.protocol import Driver
from objectql.errors import (
    MetadataInvalid,
    NotSupported,
    PermissionDenied,
    RecordNotFound,
    ValidationFailed,
)
from objectql.ids import TenantId
from objectql.kernel.kernel import Kernel
from objectql.kernel.shares import MAX_SHARES
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.query.parse import parse_query
from objectql.security.policy import Asker
from objectql.values import Record
from objectql.wire.messages import (
    CreateRequest,
    DeleteRequest,
    ExplainAccessRequest,
    FindRequest,
    GetRequest,
    ShareRequest,
    SharesRequest,
    UpdateRequest,
)

APP: dict[str, Any] = {
    "name": "notes",
    "objects": {
        "note": {"fields": {"title": {"type": "text"}, "owner": {"type": "text"}}},
        "memo": {"fields": {"title": {"type": "text"}, "note": {"type": "lookup", "reference": "note"}}},
        "leaf": {"fields": {"title": {"type": "text"}, "owner": {"type": "text"}}},
    },
    "permissions": {
        "note": {
            "object": "note",
            "object_permissions": {
                "create": ["*"], "read": ["*"], "update": ["*"], "delete": ["*"],
            },
            "record_rules": [
                {
                    "name": "own",
                    "condition": {"field": "owner", "operator": "=", "value": "$current_user.id"},
                    "permissions": {"read": True, "update": True, "delete": True},
                }
            ],
            "sharing_rules": [{"name": "by_hand", "type": "manual"}],
        },
        "memo": {"object": "memo", "object_permissions": {"create": ["*"], "read": ["*"]}},
        "leaf": {
            "object": "leaf",
            "object_permissions": {"create": ["*"], "read": ["*"], "update": ["*"]},
            "sharing_rules": [
                {
                    "name": "to_read",
                    "type": "manual",
                    "permissions": {"read": True},
                    "condition": {"field": "title", "operator": "!=", "value": "secret"},
                },
                {"name": "own", "type": "owner", "permissions": {"read": True, "update": True}},
            ],
        },
    },
}  # fmt: skip


@pytest.fixture
async def kernel(driver: Driver) -> AsyncGenerator[Kernel]:
    kernel = Kernel([driver, APP])
    await kernel.start()
    for object_ in ("note", "leaf"):
        for id_ in ("n1", "n2"):
            await kernel.create(object_, {"id": id_, "title": id_, "owner": "ann"})
    await kernel.create("memo", {"id": "m", "note": "n1"})
    yield kernel
    await kernel.stop()


def who(id_: str, *roles: str, tenant: str = "default", **claims: Any) -> Actor:
    return Actor(id_, TenantId(tenant), roles, claims)


def asking(actor: Actor) -> Context:
    return Context(actor, SystemClock().now_ms() + 30_000, "r1")


ANN, BOB = who("ann"), who("bob")


async def seen(kernel: Kernel, actor: Actor, object_: str = "note", **query: Any) -> set[str]:
    reply = await kernel.handle_find(FindRequest(parse_query(query, object=object_)), asking(actor))
    return {row["id"] for row in json.loads(reply.items)}


async def share(
    kernel: Kernel,
    principal: str,
    level: Any = "read",
    by: Actor = ANN,
    id_: str = "n1",
    object_: str = "note",
) -> list[Any]:
    reply = await kernel.handle_share(ShareRequest(object_, id_, principal, level), asking(by))
    return json.loads(reply.body)["items"]


async def change(
    kernel: Kernel, by: Actor, id_: str = "n1", object_: str = "note", **data: Any
) -> Any:
    request = UpdateRequest(object_, id_, json.dumps(data or {"title": by.id}).encode())
    return json.loads((await kernel.handle_update(request, asking(by))).record)


@pytest.mark.parametrize(
    ("principal", "actor"),
    [
        ("user:bob", BOB),
        ("role:sales", who("bob", "sales")),
        ("team:t1", who("bob", teams=["t0", "t1"])),
    ],
)
async def test_a_share_is_for_whom_it_names_until_it_is_taken_back(
    kernel: Kernel, principal: str, actor: Actor
) -> None:
    assert await seen(kernel, actor) == set()
    kind, _, id_ = principal.partition(":")
    assert await share(kernel, principal) == [{"type": kind, "id": id_, "level": "read"}]
    assert await seen(kernel, actor) == {"n1"}
    assert await seen(kernel, actor, where={"title": "n1"}) == {"n1"}
    assert (await kernel.handle_get(GetRequest("note", "n1"), asking(actor))).id == "n1"
    assert await seen(kernel, who("eve", "other", teams=["t9"])) == set()
    assert await seen(kernel, actor, "memo", where={"note.title": "n1"}) == {"m"}
    assert await share(kernel, principal, None) == []
    assert await seen(kernel, actor) == set()
    assert await seen(kernel, actor, "memo", where={"note.title": "n1"}) == set()


async def test_a_share_to_edit_is_needed_to_edit_and_does_not_let_delete(kernel: Kernel) -> None:
    await share(kernel, "user:bob")
    with pytest.raises(PermissionDenied):
        await change(kernel, BOB)
    await share(kernel, "user:bob", "edit")
    assert (await change(kernel, BOB))["title"] == "bob"
    assert await seen(kernel, BOB) == {"n1"}
    with pytest.raises(PermissionDenied):
        await kernel.handle_delete(DeleteRequest("note", "n1"), asking(BOB))
    await share(kernel, "user:bob", "read")
    with pytest.raises(PermissionDenied):
        await change(kernel, BOB)


async def test_nobody_shares_what_cannot_be_seen_or_only_be_read(kernel: Kernel) -> None:
    with pytest.raises(RecordNotFound):
        await share(kernel, "user:bob", by=BOB)
    with pytest.raises(RecordNotFound):
        await kernel.handle_shares(SharesRequest("note", "n1"), asking(BOB))
    await share(kernel, "user:bob")
    for level in ("read", "edit", None):
        with pytest.raises(PermissionDenied):
            await share(kernel, "user:bob", level, by=BOB)
        with pytest.raises(PermissionDenied):
            await share(kernel, "user:eve", level, by=BOB)
    assert await seen(kernel, who("eve")) == set()


async def test_shares_cannot_be_written_as_a_field(kernel: Kernel) -> None:
    await share(kernel, "user:bob", "edit")
    await change(kernel, BOB, shared_with=["edit:user:bob", "edit:user:eve"], title="x")
    request = UpdateRequest("note", "n1", b'{"title": "y", "owner": "ann"}', replace=True)
    await kernel.handle_update(request, asking(ANN))
    assert await seen(kernel, who("eve")) == set()
    assert await seen(kernel, BOB) == {"n1"}
    record = json.dumps({"owner": "ann", "shared_with": ["edit:user:eve"]}).encode()
    await kernel.handle_create(CreateRequest("note", record), asking(ANN))
    assert await seen(kernel, who("eve")) == set()


async def test_a_share_means_nobody_of_another_tenant(kernel: Kernel) -> None:
    await share(kernel, "user:bob")
    stranger = who("bob", tenant="other")
    assert await seen(kernel, stranger) == set()
    with pytest.raises(RecordNotFound):
        await kernel.handle_shares(SharesRequest("note", "n1"), asking(stranger))
    with pytest.raises(RecordNotFound):
        await share(kernel, "user:eve", by=who("ann", tenant="other"))


@pytest.mark.parametrize(
    "claims", [{"shares.read": ["read:user:bob"]}, {"shares": {"read": ["read:user:bob"]}}]
)
async def test_a_claim_does_not_pass_for_a_share(kernel: Kernel, claims: dict[str, Any]) -> None:
    await share(kernel, "user:bob")
    assert await seen(kernel, who("eve", **claims)) == set()
    assert await seen(kernel, who("user:bob")) == set()
    assert await seen(kernel, who("eve", "user:bob", teams=["bob", 7])) == set()


async def test_a_rule_may_grant_less_than_a_share_says(kernel: Kernel) -> None:
    await share(kernel, "user:bob", "edit", object_="leaf")
    assert await seen(kernel, BOB, "leaf") == {"n1"}
    with pytest.raises(PermissionDenied):
        await change(kernel, BOB, object_="leaf")
    await change(kernel, ANN, object_="leaf", title="secret")
    assert await seen(kernel, BOB, "leaf") == set()


async def test_shares_go_with_their_record(kernel: Kernel) -> None:
    await share(kernel, "user:bob")
    await kernel.handle_delete(DeleteRequest("note", "n1"), asking(ANN))
    await kernel.create("note", {"id": "n1", "title": "again", "owner": "ann"})
    assert await seen(kernel, BOB) == set()


async def test_shares_wait_for_their_rule(kernel: Kernel) -> None:
    await share(kernel, "user:bob")
    file = APP["permissions"]["note"]
    ruled = {name: part for name, part in file.items() if name != "sharing_rules"}
    await kernel.publisher.put("permission", "note", ruled)
    assert await seen(kernel, BOB) == set()
    with pytest.raises(NotSupported):
        await share(kernel, "user:eve")
    await kernel.publisher.put("permission", "note", file)
    assert await seen(kernel, BOB) == {"n1"}


async def test_events_are_matched_by_shares_as_statements_are(kernel: Kernel) -> None:
    await share(kernel, "role:sales")
    record = json.loads((await kernel.handle_get(GetRequest("note", "n1"), asking(ANN))).record)
    model = kernel.engine.model
    for actor in (ANN, BOB, who("bob", "sales"), who("eve", "other")):
        asker = Asker(actor, 0, _no_lookup)
        found = model.policy(actor).matches(model.object("note"), record, asker)
        assert found is ("n1" in await seen(kernel, actor))


def _no_lookup(_field: FieldDef, _target: ObjectDef, _row: Record) -> None:
    """No rule of these objects looks at another record."""


async def test_a_decision_by_a_share_is_explained(kernel: Kernel) -> None:
    await share(kernel, "user:bob")
    request = ExplainAccessRequest("note", "read", "n1", "bob", (), {})
    told = json.loads(
        (await kernel.handle_explain_access(request, asking(who("root", "admin")))).body
    )
    assert told["allowed"] is True
    assert 'sharing rule "by_hand" holds' in told["because"]


@pytest.mark.parametrize(
    "principal", ["bob", "user:", "group:x", "user:\n", ":x", "user:" + "x" * 256]
)
async def test_nothing_is_shared_with_what_is_nobody(kernel: Kernel, principal: str) -> None:
    with pytest.raises(ValidationFailed):
        await share(kernel, principal)


async def test_a_record_has_so_many_shares(kernel: Kernel) -> None:
    for number in range(MAX_SHARES):
        await share(kernel, f"user:u{number}")
    with pytest.raises(ValidationFailed):
        await share(kernel, "user:one_more")
    assert len(await share(kernel, "user:u1", "edit")) == MAX_SHARES


async def test_only_where_a_rule_lets_by_hand_is_shared_by_hand(kernel: Kernel) -> None:
    with pytest.raises(NotSupported):
        await share(kernel, "user:bob", by=who("root", "admin"), object_="memo", id_="m")
    file = {"object": "memo", "sharing_rules": [{"name": "h", "type": "manual"}]}
    await kernel.publisher.put("permission", "memo", file)
    await share(kernel, "user:bob", by=who("root", "admin"), object_="memo", id_="m")
    document = {"fields": {"shared_with": {"type": "text"}}}
    await kernel.publisher.put("object", "own", document)
    with pytest.raises(MetadataInvalid):
        await kernel.publisher.put("permission", "own", {**file, "object": "own"})
