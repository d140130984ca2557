"""The users of a tenant: seen and changed by its administrators.

A change of roles voids the tokens that name the old ones; who is disabled or deleted is cut off,
with sessions and keys, in every process. Nobody can lock themselves out or give more than they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from objectql.context import DEFAULT_TENANT, Context, system_actor
from objectql.drivers.identity import (
    FOREVER_MS,
    ApiKey,
    Delete,
    IdentityChange,
    Insert,
    Replace,
    Revocation,
    User,
)
from objectql.drivers.security_log import SecurityEntry
from objectql.errors import (
    Issue,
    PermissionDenied,
    UniqueViolation,
    ValidationFailed,
    WriteConflict,
)
from objectql.ids import is_record_id, uuid7
from objectql.kernel.audit.entries import changed_fields
from objectql.kernel.identity.directory import (
    Directory,
    check_administrator,
    check_may_grant,
    is_administrator,
    replaced,
)
from objectql.kernel.identity.hashing import PasswordWorkers
from objectql.kernel.identity.policy import IdentityPolicy
from objectql.kernel.passwords import MAX_PASSWORD_CHARACTERS
from objectql.wire.identity import (
    UserCreateRequest,
    UserDeleteRequest,
    UserListRequest,
    UserUpdateRequest,
)

_MAX_NAME: Final = 120
_MAX_ROLES: Final = 100
_MAX_PAGE: Final = 1000
_ALL: Final = -1
_COMMITS: Final = 8
"""How often a change is tried while others change the same user, as every sign-in does."""


class Users:
    """Administration of users."""

    def __init__(self, directory: Directory, workers: PasswordWorkers) -> None:
        self._directory = directory
        self._clock = directory.clock
        self._policy = directory.policy
        self._workers = workers

    async def list(self, request: UserListRequest, context: Context) -> Sequence[dict[str, Any]]:
        """The tenant's users in the order of their ids, or the one with an id.

        Raises:
            PermissionDenied: the caller is no administrator.
            RecordNotFound: there is none with that id.

        """
        check_administrator(context)
        if request.id is not None:
            return [described(await self._directory.known_user(context.tenant, request.id))]
        limit = max(1, min(request.limit, _MAX_PAGE))
        if not request.after.isprintable():
            return []
        found = await self._directory.store.find(
            User, {"tenant": context.tenant}, limit=limit, after=request.after
        )
        return [described(user) for user in found]

    async def create(self, request: UserCreateRequest, context: Context) -> dict[str, Any]:
        """The new user.

        Raises:
            PermissionDenied: the caller is no administrator, or gives a role that needs more.
            ValidationFailed: name, email, roles, id or password cannot be a user's.
            UniqueViolation: name, email or id is taken.

        """
        check_administrator(context)
        check_may_grant(context, request.roles)
        now_ms = self._clock.now_ms()
        user = User(
            tenant=context.tenant,
            id=uuid7() if request.id is None else request.id,
            name=request.name.strip().lower(),
            email=_email(request.email),
            roles=request.roles,
            must_change=request.must_change and request.password is not None,
            is_service=request.is_service,
            created_ms=now_ms,
            updated_ms=now_ms,
        )
        check_user(user)
        if request.password is not None:
            user = await self._with_password(user, request.password)
        record = self._directory.entry("user_created", context, **_told(user))
        if request.id is None:
            await self._directory.apply([Insert(user)], record=record)
        else:
            await self._insert_again(user, record)
        return described(user)

    async def update(self, request: UserUpdateRequest, context: Context) -> dict[str, Any]:
        """The changed user. Another password ends all sessions.

        Raises:
            PermissionDenied: the caller is no administrator, or would not be one any more.
            RecordNotFound: there is no such user.
            ValidationFailed, UniqueViolation: as `create`.
            WriteConflict: others change the user all the time.

        """
        check_administrator(context)
        hashed = None
        for _ in range(_COMMITS):
            before = await self._directory.known_user(context.tenant, request.id)
            check_may_grant(context, before.roles)
            user = replaced(before, self._clock, **_given(request))
            check_may_grant(context, user.roles)
            _check_not_oneself(user, context)
            check_user(user)
            if request.password is not msgspec.UNSET:
                self._check_may_have(user, request.password)
                if hashed is None:
                    hashed = await self._workers.hash(request.password)
                user = replaced(user, self._clock, password=hashed)
            with suppress(WriteConflict):  # a sign-in replaces the user too; what is given stands
                await self._replace(before, user, context)
                return described(user)
        raise WriteConflict

    async def delete(self, request: UserDeleteRequest, context: Context) -> None:
        """Delete the user, with sessions and keys.

        Raises:
            PermissionDenied: the caller is no administrator, or the user to delete.
            RecordNotFound: there is no such user.
            WriteConflict: others change the user all the time.

        """
        check_administrator(context)
        for _ in range(_COMMITS):
            user = await self._directory.known_user(context.tenant, request.id)
            check_may_grant(context, user.roles)
            _check_not_oneself(replaced(user, self._clock, is_active=False), context)
            left = await self._left_of(user)
            with suppress(WriteConflict):  # a delete alone would overlook a sign-in since the read
                await self._directory.apply(
                    [Replace(user), Delete(user), *left],
                    [self._directory.void_for_good("user", user.tenant, user.id)],
                    record=self._directory.entry("user_deleted", context, **_told(user)),
                )
                return
        raise WriteConflict

    async def cut_off(self, id_: str, context: Context) -> bool:
        """End the sessions of a user and void what was issued until now; False: not one of ours.

        Raises:
            PermissionDenied: the user has roles that the caller may not give.
            WriteConflict: others change the user all the time.

        """
        for _ in range(_COMMITS):
            user = await self._directory.user(context.tenant, id_)
            if user is None:
                return False
            check_may_grant(context, user.roles)
            changes, revoke = await self._directory.ends_of(user)
            if user.is_active:  # or void for good already
                revoke.append(self._directory.void("user", user.tenant, user.id))
            with suppress(WriteConflict):  # a sign-in since the read would be overlooked
                record = self._directory.entry("tokens_revoked", context, of="user", id=user.id)
                await self._directory.apply([Replace(user), *changes], revoke, record=record)
                return True
        raise WriteConflict

    async def ensure_administrator(self, name: str, password: str) -> bool:
        """Whether the first administrator had to be made: a user `name` of the default tenant."""
        if await self._directory.user_called(DEFAULT_TENANT, name) is not None:
            return False
        actor = system_actor()
        context = Context(actor=actor, deadline_ms=0, request_id=uuid7())
        request = UserCreateRequest(name=name, password=password, roles=actor.roles)
        try:
            await self.create(request, context)
        except UniqueViolation:  # another kernel, at the same moment
            return False
        return True

    async def _replace(self, before: User, user: User, context: Context) -> None:
        """Commit a change of `before`, with what it ends and voids."""
        changes: list[IdentityChange] = []
        revoke: list[Revocation] = []
        if user.password != before.password or not user.is_active:
            changes, revoke = await self._directory.ends_of(before)
        if not user.is_active:
            revoke.append(self._directory.void_for_good("user", user.tenant, user.id))
        elif user.roles != before.roles or not before.is_active:
            revoke.append(self._directory.void("user", user.tenant, user.id))
        told = changed_fields(before, user, ("roles", "is_active"))
        record = self._directory.entry("user_changed", context, id=user.id, **told)
        await self._directory.apply([Replace(user), *changes], revoke, record=record)

    async def _insert_again(self, user: User, record: SecurityEntry) -> None:
        """Insert a user with a given id, which may be that of a deleted one.

        That one is void for good; from now on the new one is not, and what the old one left goes.
        Of an id that was never void nothing becomes so: another issuer may know it already.
        """
        _, known = await self._directory.store.revocations(_ALL)
        is_void = any(
            (one.kind, one.tenant, one.id, one.before_ms)
            == ("user", user.tenant, user.id, FOREVER_MS)
            for one in known
        )
        revoke = [self._directory.void("user", user.tenant, user.id)] if is_void else []
        left = await self._left_of(user)
        await self._directory.apply([Insert(user), *left], revoke, record=record)

    async def _left_of(self, user: User) -> list[IdentityChange]:
        """How the keys and sessions of a user are deleted."""
        which = {"tenant": user.tenant, "user": user.id}
        keys = await self._directory.store.find(ApiKey, which)
        sessions = await self._directory.sessions_of(user.tenant, user.id)
        return [*map(Delete, keys), *map(Delete, sessions)]

    async def _with_password(self, user: User, password: str) -> User:
        self._check_may_have(user, password)
        return replaced(user, self._clock, password=await self._workers.hash(password))

    def _check_may_have(self, user: User, password: str) -> None:
        if user.is_service:
            issue = Issue("password", "not_allowed", "a service account has keys, no password")
            raise ValidationFailed(object="user", issues=(issue,))
        check_password(password, user, self._policy)


def described(user: User) -> dict[str, Any]:
    """The user as administrators see one; without anything secret."""
    return {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "roles": user.roles,
        "active": user.is_active,
        "must_change": user.must_change,
        "service": user.is_service,
        "created_at": instant(user.created_ms),
        "updated_at": instant(user.updated_ms),
    }


def _told(user: User) -> dict[str, Any]:
    """Of a user that is new or deleted, for the security log."""
    return {"id": user.id, "name": user.name, "roles": user.roles, "service": user.is_service}


def check_user(user: User) -> None:
    """Return if everything about the user can be kept.

    Raises:
        ValidationFailed: with every problem.

    """
    issues: list[Issue] = []
    if not 0 < len(user.name) <= _MAX_NAME or not user.name.isprintable() or "@" in user.name:
        message = f"a name has 1 to {_MAX_NAME} visible characters and no @"
        issues.append(Issue("name", "invalid", message))
    if user.email is not None and not _is_email(user.email):
        issues.append(Issue("email", "invalid", "this is no email address"))
    if not is_record_id(user.id):
        issues.append(Issue("id", "invalid", "an id has 1 to 255 visible characters"))
    if len(user.roles) > _MAX_ROLES or not all(
        0 < len(role) <= _MAX_NAME and role.isprintable() for role in user.roles
    ):
        issues.append(Issue("roles", "invalid", f"at most {_MAX_ROLES} names of roles"))
    if issues:
        raise ValidationFailed(object="user", issues=tuple(issues))


def instant(at_ms: int | None) -> str | None:
    """Unix milliseconds as RFC 3339 text."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _given(request: UserUpdateRequest) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name in ("roles", "is_active", "must_change"):
        value = getattr(request, name)
        if value is not msgspec.UNSET:
            changes[name] = value
    if request.name is not msgspec.UNSET:
        changes["name"] = request.name.strip().lower()
    if request.email is not msgspec.UNSET:
        changes["email"] = _email(request.email)
    return changes


def _check_not_oneself(after: User, context: Context) -> None:
    """Nobody takes the administration from oneself: there might be nobody left to give it back."""
    actor = context.actor
    if actor.id == after.id and not actor.is_system and not is_administrator(after):
        raise PermissionDenied(operation="take the administration from", object="yourself")


def _email(text: str | None) -> str | None:
    return None if text is None else text.strip().lower()


def _is_email(text: str) -> bool:
    local, at, domain = text.rpartition("@")
    return (
        bool(at and local and domain)
        and len(text) <= 254
        and text.isprintable()
        and not any(letter.isspace() for letter in text)
    )


def check_password(password: str, user: User, policy: IdentityPolicy) -> None:
    """Return if `password` may be this user's.

    Length is what counts (NIST SP 800-63B §5.1.1.2); a name is the first thing that is guessed.

    Raises:
        ValidationFailed: with every problem.

    """
    issues: list[Issue] = []
    if len(password) < policy.min_password:
        message = f"a password has at least {policy.min_password} characters"
        issues.append(Issue("password", "too_short", message))
    if len(password) > MAX_PASSWORD_CHARACTERS:
        message = f"a password has at most {MAX_PASSWORD_CHARACTERS} characters"
        issues.append(Issue("password", "too_long", message))
    if password.lower() in {user.name, user.email}:
        issues.append(Issue("password", "is_name", "a password is not the name"))
    if issues:
        raise ValidationFailed(object="user", issues=tuple(issues))
