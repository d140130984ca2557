"""Sign-ins and refreshes while somebody else changes the user: which of the two counts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import jwt
import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context, system_actor
from objectql.drivers.identity import (
    FOREVER_MS,
    IdentityChange,
    Revocation,
    Session,
    User,
)
from objectql.drivers.memory_chains import MemoryChains
from objectql.drivers.memory_identity import MemoryIdentityStore
from objectql.drivers.memory_security_log import MemorySecurityLog
from objectql.drivers.security_log import SecurityEntry
from objectql.errors import PermissionDenied, RateLimited, TenantRefused, Unauthenticated
from objectql.ids import TenantId
from objectql.kernel.audit.recorder import Recorder
from objectql.kernel.identity.directory import Directory
from objectql.kernel.identity.hashing import PasswordWorkers
from objectql.kernel.identity.policy import IdentityPolicy
from objectql.kernel.identity.sessions import Sessions
from objectql.kernel.identity.signing import Signer
from objectql.kernel.identity.users import Users
from objectql.wire.identity import (
    PasswordRequest,
    RefreshRequest,
    SignInRequest,
    SignOutRequest,
    TokensReply,
    UserCreateRequest,
    UserDeleteRequest,
    UserUpdateRequest,
)

ACME = TenantId("acme")
PASSWORD = "correct horse battery"
NEW_PASSWORD = "another good password"

Meanwhile = Callable[[], Awaitable[object]]


class StepClock(SystemClock):
    """A millisecond passes with each look."""

    def __init__(self) -> None:
        self.at_ms = 1_800_000_000_000

    def now_ms(self) -> int:
        self.at_ms += 1
        return self.at_ms


class Workers(PasswordWorkers):
    """Hash nothing, and let something happen meanwhile, once."""

    def __init__(self) -> None:
        super().__init__(IdentityPolicy())
        self.meanwhile: Meanwhile | None = None

    async def verify(self, password: str, stored: str | None) -> bool:
        await self._let_happen()
        return stored == f"hash of {password}"

    async def hash(self, password: str) -> str:
        await self._let_happen()
        return f"hash of {password}"

    def is_outdated(self, stored: str) -> bool:
        return not stored

    async def _let_happen(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()


class Store(MemoryIdentityStore):
    """Lets something happen before a commit, once."""

    def __init__(self) -> None:
        super().__init__(MemorySecurityLog(MemoryChains()))
        self.meanwhile: Meanwhile | None = None

    async def apply(
        self,
        changes: Sequence[IdentityChange],
        revoke: Sequence[Revocation] = (),
        *,
        record: Sequence[SecurityEntry] = (),
    ) -> int:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().apply(changes, revoke, record=record)


class World(NamedTuple):
    """Everything of one installation with the user ann, and what a gateway would believe."""

    store: Store
    workers: Workers
    sessions: Sessions
    users: Users
    suspended: set[TenantId]

    async def sign_in(self, password: str = PASSWORD, **more: Any) -> TokensReply:
        request = SignInRequest(more.pop("name", "ann"), password, **more)
        return await self.sessions.sign_in(request, by(Actor(id="", tenant=ACME)))

    async def refresh(self, tokens: TokensReply) -> TokensReply:
        request = RefreshRequest(tokens.refresh_token)
        return await self.sessions.refresh(request, by(Actor(id="")))

    async def update(self, **what: Any) -> object:
        return await self.users.update(UserUpdateRequest("u1", **what), by(system_actor(ACME)))

    async def roles(self, tokens: TokensReply) -> list[str] | None:
        """What the access token gives; None where it is void."""
        claims = jwt.decode(tokens.access_token, options={"verify_signature": False})
        _, revoked = await self.store.revocations(-1)
        before = {(one.kind, one.id): one.before_ms for one in revoked}
        for subject in (("user", claims["sub"]), ("session", claims["sid"])):
            if round(claims["iat"] * 1000) <= before.get(subject, 0):
                return None
        return claims["roles"]


def by(actor: Actor) -> Context:
    return Context(actor, FOREVER_MS, "r1")


@pytest.fixture
async def world() -> World:
    store, workers, policy, clock = Store(), Workers(), IdentityPolicy(), StepClock()
    refusals = Recorder(lambda: MemorySecurityLog(MemoryChains()), clock)
    directory = Directory(store, policy, clock, refusals)
    signer = Signer(store, policy, clock)
    suspended: set[TenantId] = set()

    async def admit(tenant: TenantId) -> None:
        if tenant in suspended:
            raise TenantRefused

    sessions = Sessions(directory, workers, signer, admit)
    world = World(store, workers, sessions, Users(directory, workers), suspended)
    given = UserCreateRequest(
        "ann", email="ann@x", password=PASSWORD, roles=("admin", "sales"), id="u1"
    )
    await world.users.create(given, by(system_actor(ACME)))
    await signer.public_keys()
    await signer.sign({})  # so that no later signature is the first, which writes
    return world


async def sessions_of(world: World) -> list[str]:
    return [session.id for session in await world.store.find(Session)]


async def test_a_demotion_during_the_hash_leaves_the_lesser_roles(world: World) -> None:
    world.workers.meanwhile = lambda: world.update(roles=("sales",))
    assert await world.roles(await world.sign_in()) == ["sales"]


@pytest.mark.parametrize(
    "change", [{"password": NEW_PASSWORD}, {"is_active": False}], ids=["reset", "disabled"]
)
async def test_who_is_cut_off_during_the_hash_gets_no_session(
    world: World, change: dict[str, Any]
) -> None:
    world.workers.meanwhile = lambda: world.update(**change)
    with pytest.raises(Unauthenticated):
        await world.sign_in()
    assert await sessions_of(world) == []


async def test_a_user_deleted_during_the_hash_gets_no_session(world: World) -> None:
    world.workers.meanwhile = lambda: world.users.delete(
        UserDeleteRequest("u1"), by(system_actor(ACME))
    )
    with pytest.raises(Unauthenticated):
        await world.sign_in()
    assert await sessions_of(world) == []


async def test_a_harmless_change_during_the_hash_is_no_refusal(world: World) -> None:
    world.workers.meanwhile = lambda: world.update(name="anna")
    assert (await world.sign_in()).user["name"] == "anna"


@pytest.mark.parametrize(
    "change",
    [{"password": NEW_PASSWORD}, {"is_active": False}, {"roles": ("sales",)}],
    ids=["reset", "disabled", "demoted"],
)
async def test_a_sign_in_just_before_the_commit_of_a_change_is_covered_by_it(
    world: World, change: dict[str, Any]
) -> None:
    given: list[TokensReply] = []

    async def signing_in() -> None:
        given.append(await world.sign_in())

    world.store.meanwhile = signing_in
    await world.update(**change)
    assert await world.roles(given[0]) is None
    is_kept = "roles" in change
    assert await sessions_of(world) == ([given[0].session] if is_kept else [])


async def test_a_sign_in_just_before_the_deletion_leaves_no_session(world: World) -> None:
    world.store.meanwhile = world.sign_in
    await world.users.delete(UserDeleteRequest("u1"), by(system_actor(ACME)))
    assert await sessions_of(world) == []
    assert await world.store.find(User) == ()


async def test_a_sign_in_just_before_ones_own_change_of_password_is_ended(world: World) -> None:
    mine = await world.sign_in()
    world.store.meanwhile = world.sign_in
    world.workers.meanwhile = None
    actor = Actor(id="u1", tenant=ACME, session=mine.session)
    await world.sessions.change_password(PasswordRequest(PASSWORD, NEW_PASSWORD), by(actor))
    assert await sessions_of(world) == [mine.session]
    assert await world.roles(mine) == ["admin", "sales"]


async def test_a_demotion_before_the_commit_of_a_refresh_leaves_the_lesser_roles(
    world: World,
) -> None:
    tokens = await world.sign_in()
    world.store.meanwhile = lambda: world.update(roles=("sales",))
    renewed = await world.refresh(tokens)
    assert await world.roles(renewed) == ["sales"]
    assert await world.roles(await world.refresh(renewed)) == ["sales"]


async def test_a_refresh_just_before_the_commit_of_a_demotion_is_covered_by_it(
    world: World,
) -> None:
    tokens = await world.sign_in()
    given: list[TokensReply] = []

    async def refreshing() -> None:
        given.append(await world.refresh(tokens))

    world.store.meanwhile = refreshing
    await world.update(roles=("sales",))
    assert await world.roles(given[0]) is None
    assert await world.roles(await world.refresh(given[0])) == ["sales"]


async def test_a_refresh_token_used_twice_at_once_ends_the_session(world: World) -> None:
    tokens = await world.sign_in()
    world.store.meanwhile = lambda: world.refresh(tokens)
    with pytest.raises(Unauthenticated):
        await world.refresh(tokens)
    assert await sessions_of(world) == []


async def test_a_sign_in_with_a_new_password_ends_the_other_sessions(world: World) -> None:
    elsewhere = await world.sign_in()
    here = await world.sign_in(new_password=NEW_PASSWORD)
    assert await sessions_of(world) == [here.session]
    assert await world.roles(elsewhere) is None
    assert await world.roles(here) == ["admin", "sales"]


async def test_a_sign_in_with_the_old_password_that_overlaps_one_with_a_new_is_ended(
    world: World,
) -> None:
    world.store.meanwhile = world.sign_in
    here = await world.sign_in(new_password=NEW_PASSWORD)
    assert await sessions_of(world) == [here.session]


@pytest.mark.parametrize("other", ["ann@x", "nobody@x"])
async def test_failures_of_a_name_tell_nothing_about_an_email(world: World, other: str) -> None:
    for _ in range(IdentityPolicy().free_attempts):
        with pytest.raises(Unauthenticated):
            await world.sign_in("a guess", name="ann")
    with pytest.raises(RateLimited):
        await world.sign_in("a guess", name=" ANN ")
    with pytest.raises(Unauthenticated):
        await world.sign_in("a guess", name=other)


async def test_who_is_made_again_counts_from_then_on(world: World) -> None:
    before = await world.sign_in()
    await world.users.delete(UserDeleteRequest("u1"), by(system_actor(ACME)))
    assert await world.roles(before) is None
    given = UserCreateRequest("ann", password=PASSWORD, roles=("sales",), id="u1")
    await world.users.create(given, by(system_actor(ACME)))
    assert await world.roles(before) is None
    assert await world.roles(await world.sign_in()) == ["sales"]


async def test_a_user_who_is_made_for_the_first_time_voids_nothing(world: World) -> None:
    assert await world.store.revocations(-1) == (0, ())


async def test_a_key_with_scopes_ends_no_session_and_sets_no_password(world: World) -> None:
    tokens = await world.sign_in()
    key = by(Actor(id="u1", tenant=ACME, roles=("admin",), scopes=("account:read",)))
    for request in (SignOutRequest(everywhere=True), SignOutRequest(tokens.refresh_token)):
        with pytest.raises(PermissionDenied):
            await world.sessions.sign_out(request, key)
    with pytest.raises(PermissionDenied):
        await world.sessions.change_password(PasswordRequest(PASSWORD, NEW_PASSWORD), key)
    assert await sessions_of(world) == [tokens.session]


async def test_the_refresh_token_of_another_tenant_ends_nothing(world: World) -> None:
    tokens = await world.sign_in()
    request = SignOutRequest(tokens.refresh_token)
    for tenant, left in ((TenantId("globex"), [tokens.session]), (ACME, [])):
        stranger = by(Actor(id="u1", tenant=tenant, roles=("admin", "system")))
        await world.sessions.sign_out(request, stranger)
        assert await sessions_of(world) == left


async def test_a_session_of_a_suspended_tenant_rests(world: World) -> None:
    tokens = await world.sign_in()
    world.suspended.add(ACME)
    with pytest.raises(Unauthenticated):
        await world.refresh(tokens)
    world.suspended.clear()
    assert await world.roles(await world.refresh(tokens)) == ["admin", "sales"]
