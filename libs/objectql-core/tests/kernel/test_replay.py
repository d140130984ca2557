"""A key stands for a request under the permissions of then, on every way of writing."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, cast

import msgspec
import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.drivers.protocol import Driver
from objectql.errors import IdempotencyMismatch
from objectql.kernel.actions import ActionContext
from objectql.kernel.kernel import Kernel
from objectql.wire.messages import (
    BatchOperation,
    BatchRequest,
    BulkRequest,
    BulkRow,
    CreateRequest,
    DeleteRequest,
    UpdateRequest,
    WhereWriteRequest,
)

GRANTS = {right: ["boss", "clerk"] for right in ("create", "read", "update", "delete")}
NOTE: dict[str, Any] = {
    "object": "note",
    "object_permissions": GRANTS,
    "field_permissions": {"salary": {"read": ["boss"], "update": ["boss"]}},
    "record_rules": [
        {
            "name": "region",
            "condition": {"field": "region", "operator": "in", "value": "$current_user.regions"},
            "permissions": {"read": True, "update": True, "delete": True},
        }
    ],
    "action_permissions": {"tell": {"execute": ["boss", "clerk"]}},
}
PACKAGE: dict[str, Any] = {
    "name": "notes",
    "objects": {
        "note": {
            "fields": {
                "title": {"type": "text"},
                "region": {"type": "text"},
                "salary": {"type": "number", "scale": 0, "defaultValue": 7},
            },
            "actions": {"tell": {"type": "record"}},
        },
        "free": {"fields": {"title": {"type": "text"}}},
    },
    "permissions": {"note": NOTE, "free": {"object": "free", "object_permissions": GRANTS}},
}

DATA = b'{"title":"A","region":"west"}'
Call = Callable[[Kernel, Context], Awaitable[Any]]
CALLS: dict[str, Call] = {
    "create": lambda k, c: k.handle_create(CreateRequest("note", DATA), c),
    "create_direct": lambda k, c: k.handle_create(CreateRequest("free", b'{"title":"A"}'), c),
    "update": lambda k, c: k.handle_update(UpdateRequest("note", "n", b'{"title":"B"}'), c),
    "delete": lambda k, c: k.handle_delete(DeleteRequest("note", "n"), c),
    "batch": lambda k, c: k.handle_batch(
        BatchRequest((BatchOperation("note", "create", None, DATA),)), c
    ),
    "bulk": lambda k, c: k.handle_bulk(
        BulkRequest("note", "create", (BulkRow(data=DATA),), return_records=True), c
    ),
    "bulk_atomic": lambda k, c: k.handle_bulk(
        BulkRequest("note", "create", (BulkRow(data=DATA),), return_records=True, atomic=True), c
    ),
    "write_where": lambda k, c: k.handle_write_where(
        WhereWriteRequest("note", "update", None, b'{"title":"B"}'), c
    ),
    "action": lambda k, c: k.action("note.tell", {}, id="n", context=c),
}


def caller(*roles: str, **facts: Any) -> Context:
    scopes = facts.pop("scopes", None)
    return Context(
        actor=Actor(id="u1", roles=roles, claims={"regions": ["west"], **facts}, scopes=scopes),
        deadline_ms=SystemClock().now_ms() + 30_000,
        request_id="r1",
        idempotency_key="k",
    )


@pytest.fixture
async def kernel(driver: Driver) -> AsyncGenerator[Kernel]:
    kernel = Kernel([driver, PACKAGE])

    async def tell(ctx: ActionContext) -> Any:
        assert ctx.record is not None
        return ctx.record.get("salary")

    kernel.engine.actions.register("note", "tell", tell)
    await kernel.start()
    await kernel.create("note", {"id": "n", "title": "A", "region": "west"})
    yield kernel
    await kernel.stop()


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize(
    "later",
    [
        ("clerk", {}),
        ("boss", {"scopes": ("*:create", "*:read", "*:update", "*:delete", "note:execute")}),
        ("boss", {"regions": ["east", "west"]}),
    ],
    ids=["demoted", "scoped", "facts"],
)
async def test_a_key_used_under_other_permissions_is_a_conflict(
    kernel: Kernel, call: Call, later: tuple[str, dict[str, Any]]
) -> None:
    role, facts = later
    await call(kernel, caller("boss"))
    with pytest.raises(IdempotencyMismatch):
        await call(kernel, caller(role, **facts))


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@pytest.mark.parametrize("role", ["boss", "admin"])
async def test_a_retry_with_a_fresh_token_is_the_same_request(
    kernel: Kernel, call: Call, role: str
) -> None:
    first = caller(role, regions=["west", "east"], iat=1)
    fresh = msgspec.structs.replace(caller(role, regions=["east", "west"], iat=2), request_id="r2")
    before = await call(kernel, first)
    count = await kernel.count("note"), await kernel.count("free")
    after = await call(kernel, fresh)
    assert answer(after) == answer(before)
    assert (await kernel.count("note"), await kernel.count("free")) == count


def answer(reply: Any) -> Any:
    """What a reply says, as JSON; a deletion told again has the version of the last image."""
    said: Any = json.loads(msgspec.json.encode(reply))
    if not isinstance(said, dict):
        return said
    members = cast("dict[str, Any]", said)
    return {k: v for k, v in members.items() if k not in ("timing", "version")}
