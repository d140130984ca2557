"""What trust rests on does not change, and nobody is refused, without an entry; and nothing secret is in it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.drivers.protocol import Driver
from objectql.drivers.security_log import EVERYTHING
from objectql.errors import (
    InvalidQuery,
    ObjectQLError,
    PermissionDenied,
    RateLimited,
    TenantUnknown,
    TooManyRecords,
    Unauthenticated,
)
from objectql.ids import TenantId
from objectql.kernel.features import KernelSettings
from objectql.kernel.identity.policy import IdentityPolicy
from objectql.kernel.kernel import Kernel
from objectql.wire import identity as i
from objectql.wire.audit import AuditListRequest
from objectql.wire.messages import GetRequest, MetaPutRequest
from objectql.wire.tenants import TenantChangeRequest, TenantCreateRequest, TenantGetRequest

APP: dict[str, Any] = {
    "name": "ledger",
    "objects": {"asset": {"fields": {"title": {"type": "text"}}}},
}
ACME = TenantId("acme")
PASSWORD, OTHER = "correct horse", "battery staple"
ORIGIN = "browser 203.0.113.7"


def who(
    *roles: str,
    id: str = "root",
    tenant: str = "acme",
    session: str = "",
    scopes: tuple[str, ...] | None = None,
) -> Context:
    return Context(
        actor=Actor(id=id, roles=roles, tenant=TenantId(tenant), session=session, scopes=scopes),
        deadline_ms=SystemClock().now_ms() + 3_600_000,
        request_id="r1",
        origin=ORIGIN,
    )


NOBODY = who(id="nobody")
ADMIN = who("admin")
OPERATOR = who("admin", "system", tenant="default")


@pytest.fixture
async def kernel(driver: Driver) -> AsyncGenerator[Kernel]:
    settings = KernelSettings(identity=IdentityPolicy(free_attempts=2))
    kernel = Kernel([driver, APP], settings=settings)
    await kernel.start()
    yield kernel
    await kernel.stop()


async def entries(kernel: Kernel, context: Context = ADMIN, **asked: Any) -> list[dict[str, Any]]:
    """What an administrator reads, the first entry first."""
    await kernel.refusals.flush()
    reply = await kernel.audit.handle_list(AuditListRequest(**asked), context)
    return json.loads(reply.items)[::-1]


def told(found: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(entry["kind"], entry["actor"]) for entry in found]


async def ann(kernel: Kernel) -> str:
    """The id of a user that was just made."""
    request = i.UserCreateRequest("ann", password=PASSWORD, roles=("clerk",))
    return json.loads((await kernel.identity.handle_user_create(request, ADMIN)).body)["id"]


async def test_sessions_are_told_from_sign_in_to_theft(kernel: Kernel) -> None:
    id_ = await ann(kernel)
    sign_in = kernel.identity.handle_sign_in
    first = await sign_in(i.SignInRequest("ann", PASSWORD), NOBODY)
    caller = who("clerk", id=id_, session=first.session)
    await kernel.identity.handle_password(i.PasswordRequest(PASSWORD, OTHER), caller)
    await kernel.identity.handle_sign_out(i.SignOutRequest(), caller)
    second = await sign_in(i.SignInRequest("ann", OTHER), NOBODY)
    stolen = i.RefreshRequest(second.refresh_token)
    await kernel.identity.handle_refresh(stolen, NOBODY)
    with pytest.raises(Unauthenticated):
        await kernel.identity.handle_refresh(stolen, NOBODY)
    third = await sign_in(i.SignInRequest("ann", OTHER), NOBODY)
    request = i.SignOutRequest(everywhere=True)
    await kernel.identity.handle_sign_out(request, who(id=id_, session=third.session))
    found = await entries(kernel)
    assert told(found) == [
        ("user_created", "root"),
        ("signed_in", id_),
        ("password_changed", id_),
        ("signed_out", id_),
        ("signed_in", id_),
        ("refresh_reused", id_),
        ("signed_in", id_),
        ("signed_out", id_),
    ]
    assert found[1]["details"] == {"session": first.session, "set_password": False}
    assert found[5]["details"] == {"session": second.session}
    assert {(entry["from"]["address"], entry["request_id"]) for entry in found} == {
        ("203.0.113.7", "r1")
    }


async def test_refused_sign_ins_name_no_actor_and_never_what_was_typed(kernel: Kernel) -> None:
    id_ = await ann(kernel)
    for name in ("ann", "ann", "ann", PASSWORD):
        with pytest.raises((Unauthenticated, RateLimited)):
            await kernel.identity.handle_sign_in(i.SignInRequest(name, OTHER), NOBODY)
    found = (await entries(kernel))[1:]
    assert [(entry["kind"], entry["actor"], entry["details"]) for entry in found] == [
        ("sign_in_refused", None, {"cause": "password", "user": id_}),
        ("sign_in_refused", None, {"cause": "password", "user": id_}),
        ("sign_in_locked", None, {"cause": "attempts", "user": id_}),
        ("sign_in_refused", None, {"cause": "unknown"}),
    ]


async def test_what_administrators_do_is_told_without_secrets(
    kernel: Kernel, driver: Driver
) -> None:
    id_ = await ann(kernel)
    identity = kernel.identity
    change = i.UserUpdateRequest(id_, roles=("clerk", "boss"), password=OTHER)
    await identity.handle_user_update(change, ADMIN)
    key = json.loads((await identity.handle_key_create(i.KeyCreateRequest("ci", id_), ADMIN)).body)
    await identity.handle_key_update(i.KeyUpdateRequest(key["id"], name="cd"), ADMIN)
    await identity.handle_key_delete(i.KeyDeleteRequest(key["id"]), ADMIN)
    tokens = await identity.handle_sign_in(i.SignInRequest("ann", OTHER), NOBODY)
    await identity.handle_revoke(i.RevokeRequest("user", id_), ADMIN)
    await identity.handle_revoke(i.RevokeRequest("session", "s1"), ADMIN)
    await identity.handle_user_delete(i.UserDeleteRequest(id_), ADMIN)
    robot = i.UserCreateRequest("robot", is_service=True)
    await identity.handle_user_create(robot, ADMIN)
    found = await entries(kernel)
    assert [(entry["kind"], entry["details"]) for entry in found] == [
        (
            "user_created",
            {"id": id_, "name": "ann", "roles": ["clerk"], "service": False},
        ),
        (
            "user_changed",
            {
                "id": id_,
                "fields": ["password", "roles"],
                "roles": {"old": ["clerk"], "new": ["clerk", "boss"]},
            },
        ),
        ("key_created", {"id": key["id"], "owner": id_, "roles": None, "scopes": None}),
        ("key_changed", {"id": key["id"], "fields": ["name"]}),
        ("key_deleted", {"id": key["id"], "owner": id_, "roles": None, "scopes": None}),
        ("signed_in", {"session": tokens.session, "set_password": False}),
        ("tokens_revoked", {"of": "user", "id": id_}),
        ("tokens_revoked", {"of": "session", "id": "s1"}),
        (
            "user_deleted",
            {"id": id_, "name": "ann", "roles": ["clerk", "boss"], "service": False},
        ),
        (
            "user_created",
            {"id": found[-1]["details"]["id"], "name": "robot", "roles": [], "service": True},
        ),
    ]
    stored = await driver.security_log.page(ACME, EVERYTHING, limit=100)
    text = msgspec.json.encode([entry for _, entry in stored]).decode()
    secrets = (PASSWORD, OTHER, key["key"], tokens.access_token, tokens.refresh_token, "argon2")
    assert not [secret for secret in secrets if secret in text]
    parts = {part for secret in secrets[2:5] for part in secret.replace(".", "_").split("_")}
    told = {part for part in parts if len(part) > 10 and part in text}
    assert told <= {key["id"], tokens.session}


async def test_metadata_and_tenants_are_told_to_who_administers_all(kernel: Kernel) -> None:
    create = TenantCreateRequest(b'{"id":"acme","settings":{"api_secret":"s3cr3t"}}')
    await kernel.tenancy.handle_create(create, OPERATOR)
    change = TenantChangeRequest("acme", b'{"suspended":true,"settings":{"api_secret":"n3w"}}')
    await kernel.tenancy.handle_change(change, OPERATOR)
    put = MetaPutRequest("view", "assets", b'{"name":"assets","object":"asset"}')
    await kernel.handle_meta_put(put, OPERATOR)
    found = await entries(kernel, OPERATOR)
    assert [(entry["kind"], entry["actor"], entry["details"]) for entry in found[-3:]] == [
        ("tenant_created", "root", {"id": "acme", "isolation": "row"}),
        (
            "tenant_changed",
            "root",
            {
                "id": "acme",
                "fields": ["suspended", "settings"],
                "suspended": {"old": False, "new": True},
            },
        ),
        (
            "metadata_published",
            "root",
            {"version": kernel.engine.model.version, "documents": 1, "stored": ["view/assets"]},
        ),
    ]
    assert found[0]["kind"] == "metadata_published"  # the package, by the system
    assert "s3cr3t" not in json.dumps(found)


async def test_denied_access_is_told_with_what_was_asked(kernel: Kernel) -> None:
    denied = who("clerk", id="eve")
    with pytest.raises(PermissionDenied):
        await kernel.handle_get(GetRequest("asset", "a1"), denied)
    with pytest.raises(PermissionDenied):
        await kernel.tenancy.handle_get(TenantGetRequest("acme"), denied)
    with pytest.raises(PermissionDenied):
        await kernel.identity.handle_users(i.UserListRequest(), denied)
    with pytest.raises(PermissionDenied):
        await kernel.audit.handle_list(AuditListRequest(), denied)
    found = await entries(kernel)
    assert [(entry["kind"], entry["actor"]) for entry in found] == [("access_denied", "eve")] * 4
    assert [entry["details"]["operation"] for entry in found] == [
        "get",
        "tenants",
        "auth",
        "audit",
    ]
    assert found[0]["details"]["object"] == "asset"


async def test_administrators_read_their_own_log_and_operators_every_one(kernel: Kernel) -> None:
    await kernel.tenancy.handle_create(TenantCreateRequest(b'{"id":"acme"}'), OPERATOR)
    await ann(kernel)
    assert told(await entries(kernel)) == [("user_created", "root")]
    assert told(await entries(kernel, OPERATOR, tenant="acme")) == [("user_created", "root")]
    assert await entries(kernel, who("admin", tenant="zoo")) == []
    refused: list[tuple[Context, dict[str, str]]] = [
        (who("clerk"), {}),
        (who("system", tenant="acme"), {}),
        (who("admin", scopes=("asset:read",)), {}),
        (who("admin", tenant="zoo"), {"tenant": "acme"}),
        (who("admin", "system", tenant="zoo"), {"tenant": "acme"}),
        (who("admin"), {"tenant": "acme"}),
    ]
    for context, asked in refused:
        with pytest.raises(PermissionDenied):
            await entries(kernel, context, **asked)
    with pytest.raises(TenantUnknown):
        await entries(kernel, OPERATOR, tenant="nobody")


async def test_pages_and_filters_of_the_log(kernel: Kernel) -> None:
    for number in range(5):
        request = i.UserCreateRequest(f"user{number}")
        await kernel.identity.handle_user_create(request, who("admin", id=f"root{number % 2}"))
    reply = await kernel.audit.handle_list(AuditListRequest(limit=3), ADMIN)
    names = [entry["details"]["name"] for entry in json.loads(reply.items)]
    assert (names, reply.has_next) == (["user4", "user3", "user2"], True)
    rest = await kernel.audit.handle_list(AuditListRequest(limit=3, after=reply.next), ADMIN)
    names = [entry["details"]["name"] for entry in json.loads(rest.items)]
    assert (names, rest.has_next, rest.next) == (["user1", "user0"], False, None)
    assert len(await entries(kernel, actor="root0")) == 3
    assert len(await entries(kernel, kind="user_created", actor="root1")) == 2
    assert await entries(kernel, kind="user_deleted") == []
    assert await entries(kernel, until="2020-01-01") == []
    assert len(await entries(kernel, since="2020-01-01T01:00:00+01:00")) == 5
    wrong: list[tuple[Context, dict[str, Any], type[ObjectQLError]]] = [
        (ADMIN, {"kind": "nothing"}, InvalidQuery),
        (ADMIN, {"since": "yesterday"}, InvalidQuery),
        (ADMIN, {"after": "x"}, InvalidQuery),
        (who("admin", tenant="zoo"), {"after": reply.next}, InvalidQuery),
        (ADMIN, {"limit": 0}, TooManyRecords),
        (ADMIN, {"limit": 1001}, TooManyRecords),
    ]
    for context, asked, error in wrong:
        with pytest.raises(error):
            await entries(kernel, context, **asked)


async def test_what_waits_is_written_when_the_kernel_stops(driver: Driver) -> None:
    kernel = Kernel([driver, APP])
    await kernel.start()
    for _ in range(25):
        with pytest.raises(PermissionDenied):
            await kernel.handle_get(GetRequest("asset", "a1"), who("clerk", id="eve"))
    recorded: list[Any] = []
    record = driver.security_log.record

    async def spy(found: Any) -> None:
        recorded.extend(found)
        await record(found)

    driver.security_log.record = spy  # type: ignore[method-assign]
    await kernel.stop()
    assert [entry.kind for entry in recorded] == ["access_denied"] * 10 + ["entries_left_out"]
    assert recorded[-1].details == {"access_denied": 15}
