"""Who may give a record away, on every driver and at every door that changes records."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.drivers.protocol import Driver
from objectql.errors import PermissionDenied, RecordNotFound
from objectql.ids import TenantId
from objectql.kernel.actions import ActionContext
from objectql.kernel.kernel import Kernel
from objectql.wire.messages import (
    ActionRequest,
    BatchOperation,
    BatchRequest,
    BulkRequest,
    BulkRow,
    DeleteRequest,
    ExplainAccessRequest,
    GetRequest,
    PermissionsRequest,
    ShareRequest,
    UpdateRequest,
    WhereWriteRequest,
)

OWN = {"field": "owner", "operator": "=", "value": "$current_user.id"}
GRANTS = {name: ["*"] for name in ("create", "read", "update", "delete")}
READ_AND_UPDATE = {"read": True, "update": True}
NOTE: dict[str, Any] = {
    "object": "note",
    "object_permissions": {**GRANTS, "transfer": ["registrar"], "modify_all": ["boss"]},
    "record_rules": [
        {"name": "own", "condition": OWN, "permissions": {**READ_AND_UPDATE, "delete": True}},
    ],
    "sharing_rules": [
        {"name": "by_hand", "type": "manual"},
        {
            "name": "everything",
            "condition": {"field": "title", "operator": "!=", "value": "secret"},
            "shared_with": {"type": "role", "roles": ["steward"]},
            "access_level": "full",
        },
        {
            "name": "edited",
            "condition": {"field": "title", "operator": "!=", "value": "secret"},
            "shared_with": {"type": "role", "roles": ["editor", "registrar"]},
            "permissions": READ_AND_UPDATE,
        },
    ],
}
FIELDS = {
    "title": {"type": "text"},
    "owner": {"type": "text"},
    "code": {"type": "text", "externalId": True},
}
APP: dict[str, Any] = {
    "name": "notes",
    "objects": {
        "note": {"fields": FIELDS, "actions": {"take": {"type": "record"}}},
        "board": {"fields": FIELDS},
        "desk": {"fields": FIELDS},
        "wiki": {"fields": FIELDS, "sharingModel": "public_read_write"},
        "page": {"fields": FIELDS, "sharingModel": "public_read"},
    },
    "permissions": {
        "note": NOTE,
        **{
            name: {"object": name, "object_permissions": GRANTS}
            for name in ("board", "wiki", "page")
        },
    },
}  # fmt: skip


async def take(ctx: ActionContext) -> None:
    """The action: `bob` becomes the owner."""
    assert ctx.id is not None
    await ctx.api.update("note", ctx.id, {"owner": "bob"})


@pytest.fixture
async def kernel(driver: Driver) -> AsyncGenerator[Kernel]:
    kernel = Kernel([driver, APP])
    kernel.engine.actions.register("note", "take", take)
    await kernel.start()
    for name in APP["objects"]:
        await kernel.create(name, {"id": "n1", "title": "t", "owner": "ann", "code": "c1"})
    yield kernel
    await kernel.stop()


def who(id_: str, *roles: str, **claims: Any) -> Actor:
    return Actor(id_, TenantId("default"), roles, claims)


def asking(actor: Actor) -> Context:
    return Context(actor, SystemClock().now_ms() + 30_000, "r1")


ANN, BOB, ROOT = who("ann"), who("bob"), who("root", "admin")


async def give(kernel: Kernel, by: Actor, owner: str | None, object_: str = "note") -> None:
    request = UpdateRequest(object_, "n1", json.dumps({"owner": owner}).encode())
    await kernel.handle_update(request, asking(by))


async def share(kernel: Kernel, by: Actor, principal: str, level: Any = "edit") -> None:
    await kernel.handle_share(ShareRequest("note", "n1", principal, level), asking(by))


async def owner_of(kernel: Kernel, object_: str = "note") -> Any:
    reply = await kernel.handle_get(GetRequest(object_, "n1"), asking(ROOT))
    return json.loads(reply.record)["owner"]


# --- at every door ------------------------------------------------------------------------------

Door = Callable[[Kernel, Context], Awaitable[Any]]
MINE = b'{"owner": "bob"}'


async def by_update(kernel: Kernel, context: Context) -> None:
    await kernel.handle_update(UpdateRequest("note", "n1", MINE), context)


async def by_replacement(kernel: Kernel, context: Context) -> None:
    await kernel.handle_update(UpdateRequest("note", "n1", MINE, replace=True), context)


async def by_an_absent_owner(kernel: Kernel, context: Context) -> None:
    request = UpdateRequest("note", "n1", b'{"title": "x"}', replace=True)
    await kernel.handle_update(request, context)


async def by_batch(kernel: Kernel, context: Context) -> None:
    step = BatchOperation("note", "update", id="n1", data=MINE)
    await kernel.handle_batch(BatchRequest((step,)), context)


async def by_upsert(kernel: Kernel, context: Context) -> None:
    row = BulkRow(b'{"code": "c1", "owner": "bob"}')
    await told(kernel, BulkRequest("note", "upsert", (row,)), context)


async def by_bulk(kernel: Kernel, context: Context) -> None:
    await told(kernel, BulkRequest("note", "update", (BulkRow(MINE, id="n1"),)), context)


async def by_atomic_bulk(kernel: Kernel, context: Context) -> None:
    rows = (BulkRow(MINE, id="n1"),)
    await told(kernel, BulkRequest("note", "update", rows, atomic=True), context)


async def by_filter(kernel: Kernel, context: Context) -> None:
    await kernel.handle_write_where(WhereWriteRequest("note", "update", None, MINE), context)


async def by_action(kernel: Kernel, context: Context) -> None:
    await kernel.handle_action(ActionRequest("note", "take", "n1", b"{}"), context)


async def told(kernel: Kernel, request: BulkRequest, context: Context) -> None:
    """Raises what the only row met."""
    (result,) = (await kernel.handle_bulk(request, context)).results
    if result.error is not None:
        assert result.error.code == PermissionDenied.code
        raise PermissionDenied(operation="transfer", object="note")


DOORS = (
    by_update, by_replacement, by_an_absent_owner, by_batch, by_upsert, by_bulk, by_atomic_bulk,
    by_filter, by_action,
)  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
async def test_who_may_edit_by_a_share_takes_the_record_at_no_door(
    kernel: Kernel, door: Door
) -> None:
    await share(kernel, ANN, "user:bob")
    with pytest.raises(PermissionDenied):
        await door(kernel, asking(BOB))
    assert await owner_of(kernel) == "ann"
    with pytest.raises(PermissionDenied):
        await kernel.handle_delete(DeleteRequest("note", "n1"), asking(BOB))


@pytest.mark.parametrize("door", DOORS)
async def test_who_is_given_a_record_in_full_takes_it_at_every_door(
    kernel: Kernel, door: Door
) -> None:
    await door(kernel, asking(who("bob", "steward")))
    assert await owner_of(kernel) in ("bob", None)


# --- what gives the right -----------------------------------------------------------------------


async def test_a_share_to_edit_is_not_shared_on(kernel: Kernel) -> None:
    await share(kernel, ANN, "user:bob")
    for principal, level in (("user:eve", "read"), ("user:bob", "edit"), ("user:bob", None)):
        with pytest.raises(PermissionDenied):
            await share(kernel, BOB, principal, level)
    with pytest.raises(RecordNotFound):
        await kernel.handle_get(GetRequest("note", "n1"), asking(who("eve")))
    await share(kernel, who("eve", "steward"), "user:eve")


async def test_the_owner_named_as_it_is_is_no_transfer(kernel: Kernel) -> None:
    await share(kernel, ANN, "user:bob")
    await give(kernel, BOB, "ann")


async def test_owners_give_away_as_far_as_their_rules_reach(kernel: Kernel) -> None:
    with pytest.raises(PermissionDenied):  # nobody can leave a record beyond the own rules
        await give(kernel, ANN, "bob")
    await give(kernel, who("ann", "editor"), "bob")
    assert await owner_of(kernel) == "bob"


async def test_the_grant_is_on_what_one_may_change_and_reaches_beyond_the_own_rules(
    kernel: Kernel,
) -> None:
    await give(kernel, who("eve", "registrar"), "bob")
    await give(kernel, who("bob", "registrar"), "ann")
    assert await owner_of(kernel) == "ann"
    request = UpdateRequest("note", "n1", b'{"title": "secret"}')
    await kernel.handle_update(request, asking(ANN))
    with pytest.raises(RecordNotFound):
        await give(kernel, who("eve", "registrar"), "eve")
    await give(kernel, who("ann", "registrar"), "bob")  # and sees it no more
    assert await owner_of(kernel) == "bob"
    await give(kernel, who("eve", "boss"), "ann")


async def test_row_level_security_narrows_the_grant_too(kernel: Kernel) -> None:
    not_bobs = {"field": "owner", "operator": "!=", "value": "bob"}
    file = {**NOTE, "row_level_security": {"enabled": True, "default_rule": not_bobs}}
    await kernel.publisher.put("permission", "note", file)
    with pytest.raises(PermissionDenied):
        await give(kernel, who("eve", "registrar"), "bob")
    await give(kernel, who("eve", "registrar"), "eve")


@pytest.mark.parametrize("narrowed", ["grant", "policy"])
async def test_who_may_not_delete_a_record_takes_it_by_no_rule_that_grants_deletion(
    kernel: Kernel, narrowed: str
) -> None:
    steward = who("bob", "steward")
    if narrowed == "grant":
        grants = {**NOTE["object_permissions"], "delete": ["nobody"]}
        await kernel.publisher.put("permission", "note", {**NOTE, "object_permissions": grants})
    else:
        none = {"name": "none", "object": "note", "operation": "delete", "using": "title == 'x'"}
        said = {"objects": {"note": {"allowRead": True}}, "rowLevelSecurity": [none]}
        await kernel.publisher.put("permission_set", "steward", said)
    with pytest.raises(PermissionDenied):
        await kernel.handle_delete(DeleteRequest("note", "n1"), asking(steward))
    with pytest.raises(PermissionDenied):
        await give(kernel, steward, "bob")
    assert (await explained(kernel, "bob", "steward"))["allowed"] is False
    await give(kernel, who("ann", "editor"), "bob")  # owners need no deletion
    assert await owner_of(kernel) == "bob"


async def test_where_no_rule_is_about_records_nothing_hangs_on_the_owner(kernel: Kernel) -> None:
    await give(kernel, BOB, "bob", "board")
    await give(kernel, BOB, "bob", "wiki")
    with pytest.raises(PermissionDenied):
        await give(kernel, BOB, "bob", "page")


async def test_everybody_may_edit_what_only_its_owner_gives_away(kernel: Kernel) -> None:
    grants = {"allowRead": True, "allowEdit": True, "readScope": "org", "writeScope": "org"}
    said = {"objects": {"desk": grants}}
    await kernel.publisher.put("permission_set", "clerk", said)
    request = UpdateRequest("desk", "n1", b'{"title": "x"}')
    await kernel.handle_update(request, asking(who("bob", "clerk")))
    with pytest.raises(PermissionDenied):
        await give(kernel, who("bob", "clerk"), "bob", "desk")
    await give(kernel, who("ann", "clerk"), "bob", "desk")
    assert await owner_of(kernel, "desk") == "bob"


async def test_who_stands_above_the_owner_gives_away_what_reports_own(kernel: Kernel) -> None:
    manager = who("eve", "lead", reports=["ann", "zoe"])
    grants = {"allowRead": True, "allowEdit": True, "readScope": "org"}
    for scope in ("org", "own_and_reports"):
        said = {"objects": {"note": {**grants, "writeScope": scope}}}
        await kernel.publisher.put("permission_set", "lead", said)
        if scope == "org":
            with pytest.raises(PermissionDenied):
                await give(kernel, manager, "zoe")
    await give(kernel, manager, "zoe")
    said = {"objects": {"note": {**grants, "writeScope": "org", "allowTransfer": True}}}
    await kernel.publisher.put("permission_set", "lead", said)
    await give(kernel, manager, "ann")


# --- told to people -----------------------------------------------------------------------------


async def explained(kernel: Kernel, user: str, *roles: str) -> dict[str, Any]:
    request = ExplainAccessRequest("note", "transfer", "n1", user, roles, {})
    return json.loads((await kernel.handle_explain_access(request, asking(ROOT))).body)


async def test_it_is_explained_who_may_give_a_record_away(kernel: Kernel) -> None:
    await share(kernel, ANN, "user:bob")
    told = await explained(kernel, "bob")
    assert told["allowed"] is False
    assert 'sharing rule "by_hand" does not grant transfer' in told["because"]
    assert 'ownership rule "owner" does not hold' in told["because"]
    assert (await explained(kernel, "ann"))["allowed"] is True
    assert (await explained(kernel, "eve", "steward"))["allowed"] is True
    granted = await explained(kernel, "eve", "registrar")
    assert granted["allowed"] is True
    assert "transfer is granted to registrar" in granted["because"]
    assert (await explained(kernel, "eve", "boss"))["allowed"] is True


async def test_callers_are_told_how_far_they_may_give_away(kernel: Kernel) -> None:
    async def records(actor: Actor, object_: str) -> Any:
        reply = await kernel.handle_permissions(PermissionsRequest(), asking(actor))
        return json.loads(reply.body)["objects"][object_]["records"]["transfer"]

    assert await records(BOB, "note") == "some"
    assert await records(who("bob", "boss"), "note") == "all"
    assert await records(BOB, "board") == "all"
