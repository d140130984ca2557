"""The store as the other modules see it: looked up, changed, and every change of trust announced."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeAlias

import msgspec

from objectql.clock import Clock
from objectql.context import ADMIN_ROLE, SYSTEM_ROLE, Context
from objectql.drivers.identity import (
    FOREVER_MS,
    Delete,
    IdentityChange,
    IdentityStore,
    Revocation,
    RevocationKind,
    Session,
    User,
)
from objectql.drivers.security_log import SecurityEntry, SecurityKind
from objectql.errors import PermissionDenied, RecordNotFound
from objectql.ids import is_record_id
from objectql.kernel.audit.entries import entry_of
from objectql.kernel.audit.recorder import Recorder
from objectql.kernel.identity.policy import IdentityPolicy
from objectql.wire.identity import IdentityChanged, RevokedEntry

Announce: TypeAlias = Callable[[IdentityChanged], Awaitable[None]]

_DAY_MS: Final = 86_400_000
_TOKENS_END_MS: Final = 400 * _DAY_MS
"""No token of whatever issuer is believed to be accepted for longer."""


async def _to_nobody(news: IdentityChanged) -> None:
    """Without a bus there is nobody to tell."""


class Directory:
    """Users and what is void, over one store."""

    def __init__(
        self, store: IdentityStore, policy: IdentityPolicy, clock: Clock, refusals: Recorder
    ) -> None:
        """`refusals` records what changes nothing."""
        self.store = store
        self.refusals = refusals
        self.policy = policy
        self.clock = clock
        self.announce: Announce = _to_nobody
        """Told of every revocation after its commit."""

    async def user(self, tenant: str, id_: str) -> User | None:
        """The user with an id, whether active or not."""
        found = await self.store.find(User, {"tenant": tenant, "id": id_})
        return found[0] if found else None

    async def known_user(self, tenant: str, id_: str) -> User:
        """The user with an id.

        Raises:
            RecordNotFound: there is none.

        """
        user = await self.user(tenant, id_) if is_record_id(id_) else None
        if user is None:
            raise RecordNotFound(object="user", id=id_[:100])
        return user

    async def user_called(self, tenant: str, name: str) -> User | None:
        """The user with a name, or with an email, which is what has an @; one look in either case."""
        which = {"tenant": tenant, "email" if "@" in name else "name": name}
        found = await self.store.find(User, which)
        return found[0] if found else None

    async def apply(
        self,
        changes: Sequence[IdentityChange],
        revoke: Sequence[Revocation] = (),
        *,
        record: SecurityEntry | None = None,
    ) -> None:
        """Change, record it, and tell everybody what is void now; see `IdentityStore.apply`."""
        entries = () if record is None else (record,)
        version = await self.store.apply(changes, revoke, record=entries)
        if revoke:
            await self.announce(IdentityChanged(version, entries_of(revoke)))

    def void(self, kind: RevocationKind, tenant: str, id_: str) -> Revocation:
        """What was issued until now is void."""
        now_ms = self.clock.now_ms()
        return Revocation(kind, tenant, id_, now_ms, now_ms + _TOKENS_END_MS)

    def void_for_good(self, kind: RevocationKind, tenant: str, id_: str) -> Revocation:
        """Nothing that was or will be issued counts, until somebody says otherwise."""
        return Revocation(kind, tenant, id_, FOREVER_MS, FOREVER_MS)

    def ended(self, session: Session) -> tuple[IdentityChange, Revocation]:
        """How a session is ended: its row goes, and its access tokens are void until they expire."""
        until_ms = self.clock.now_ms() + (self.policy.access_s + 3600) * 1000
        revocation = Revocation("session", session.tenant, session.id, FOREVER_MS, until_ms)
        return Delete(session), revocation

    async def void_tenant(self, tenant: str) -> None:
        """What was issued until now makes nobody one of a tenant any more."""
        await self.apply((), [self.void("tenant", tenant, "")])

    async def ends_of(
        self, user: User, *, but: str = ""
    ) -> tuple[list[IdentityChange], list[Revocation]]:
        """How all sessions of a user are ended but one of an id.

        To be committed with a `Replace` of the `user` read before: a later session conflicts.
        """
        sessions = await self.sessions_of(user.tenant, user.id)
        ends = [self.ended(session) for session in sessions if session.id != but]
        return [change for change, _ in ends], [void for _, void in ends]

    async def end_sessions(
        self, sessions: Iterable[Session], record: SecurityEntry | None = None
    ) -> None:
        """End them at once, and record it if there were any."""
        ends = [self.ended(session) for session in sessions]
        if ends:
            changes, revoke = [change for change, _ in ends], [void for _, void in ends]
            await self.apply(changes, revoke, record=record)

    def entry(
        self, kind: SecurityKind, context: Context, actor: str | None = None, /, **details: object
    ) -> SecurityEntry:
        """What the caller did, or the user that the caller has proved to be; see `entry_of`."""
        return entry_of(kind, context, self.clock, actor, **details)

    async def sessions_of(self, tenant: str, user: str) -> tuple[Session, ...]:
        """The sessions of a user."""
        return await self.store.find(Session, {"tenant": tenant, "user": user})


def entries_of(revoked: Iterable[Revocation]) -> tuple[RevokedEntry, ...]:
    """Revocations as they travel."""
    return tuple(
        RevokedEntry(one.kind, one.tenant, one.id, one.before_ms, one.until_ms) for one in revoked
    )


def check_administrator(context: Context) -> None:
    """Return if the caller may administer the identities of the own tenant.

    Raises:
        PermissionDenied: no `admin`, or one with a key that is good for some objects only.

    """
    actor = context.actor
    if not actor.is_admin or actor.scopes is not None:
        raise PermissionDenied(operation="administer", object="users and keys")


def check_may_grant(context: Context, roles: Iterable[str]) -> None:
    """Return if the caller may give, take or hold back `roles`: `system` needs `system`.

    Raises:
        PermissionDenied: only who administers all tenants may make others do so.

    """
    if SYSTEM_ROLE in roles and not context.actor.is_operator:
        raise PermissionDenied(operation="administer", object="users with the role system")


def is_administrator(user: User) -> bool:
    """Whether the user may administer others."""
    return user.is_active and ADMIN_ROLE in user.roles


def replaced(user: User, clock: Clock, **changes: object) -> User:
    """The user with changes."""
    return msgspec.structs.replace(user, updated_ms=clock.now_ms(), **changes)
