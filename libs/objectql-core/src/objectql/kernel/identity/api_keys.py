"""API keys: made for users and service accounts, narrowed down by roles and scopes.

A key acts for its user: what it may do is what the user may do now, never more, and less where it
names roles or scopes. It is shown once and stored as a hash.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from objectql.context import SYSTEM_ROLE, Actor, Context
from objectql.drivers.identity import ApiKey, Delete, Insert, Replace, User
from objectql.errors import (
    Issue,
    RecordNotFound,
    Unauthenticated,
    ValidationFailed,
    WriteConflict,
)
from objectql.ids import TenantId
from objectql.kernel.audit.entries import changed_fields
from objectql.kernel.identity.directory import Directory, check_administrator, check_may_grant
from objectql.kernel.identity.secret_texts import KeyText, digest, is_of, new_id, new_secret
from objectql.kernel.identity.secret_texts import parse_key as parse_key_text
from objectql.kernel.identity.users import instant
from objectql.wire.identity import (
    KeyCreateRequest,
    KeyDeleteRequest,
    KeyListRequest,
    KeyReply,
    KeyUpdateRequest,
    ResolveKeyRequest,
)

log = logging.getLogger(__name__)

_MAX_NAME: Final = 120
_MAX_SCOPES: Final = 100
_MAX_PAGE: Final = 1000
_USE_NOTED_MS: Final = 3_600_000
"""How exactly it is known when a key was used last: one write per hour and key."""

_LAST_MS: Final = 253_402_300_799_999
"""The last moment that has a date."""

_SCOPE: Final = re.compile(
    r"(\*|[a-z][a-z0-9_]{0,47}):(\*|create|read|update|delete|execute|export)\Z"
)


class ApiKeys:
    """Administration of keys, and their owners."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._store = directory.store
        self._clock = directory.clock

    async def list(self, request: KeyListRequest, context: Context) -> Sequence[dict[str, Any]]:
        """The tenant's keys in the order of their ids, or those of one user; no secrets.

        Raises:
            PermissionDenied: the caller is no administrator.

        """
        check_administrator(context)
        equal = {"tenant": str(context.tenant)}
        if request.user is not None:
            equal["user"] = request.user
        limit = max(1, min(request.limit, _MAX_PAGE))
        if not all(text.isprintable() for text in (request.after, *equal.values())):
            return []
        found = await self._store.find(ApiKey, equal, limit=limit, after=request.after)
        return [_described(key) for key in found]

    async def create(self, request: KeyCreateRequest, context: Context) -> dict[str, Any]:
        """The new key with its text, which nobody can find out again.

        Raises:
            PermissionDenied: the caller is no administrator.
            RecordNotFound: there is no such user.
            ValidationFailed: name, roles, scopes or end cannot be a key's.

        """
        check_administrator(context)
        owner_id = request.user or context.actor.id
        owner = await self._directory.known_user(context.tenant, owner_id)
        check_may_grant(context, owner.roles)
        text = KeyText(new_id(), new_secret())
        key = ApiKey(
            tenant=context.tenant,
            id=text.id,
            user=owner.id,
            name=request.name.strip(),
            secret=digest(text.secret),
            roles=request.roles,
            scopes=request.scopes,
            created_ms=self._clock.now_ms(),
            expires_ms=request.expires_ms,
        )
        _check_key(key, owner)
        record = self._directory.entry("key_created", context, **_told(key))
        await self._directory.apply([Insert(key)], record=record)
        return {**_described(key), "key": str(text)}

    async def update(self, request: KeyUpdateRequest, context: Context) -> dict[str, Any]:
        """The changed key.

        Raises:
            PermissionDenied, RecordNotFound, ValidationFailed: as `create`.
            WriteConflict: somebody else has changed it meanwhile.

        """
        key, owner = await self._administered(request.id, context)
        before = key
        if request.name is not msgspec.UNSET:
            key = msgspec.structs.replace(key, name=request.name.strip())
        if request.expires_ms is not msgspec.UNSET:
            key = msgspec.structs.replace(key, expires_ms=request.expires_ms)
        _check_key(key, owner)
        void = self._directory.void("key", key.tenant, key.id)
        told = changed_fields(before, key, ("expires_ms",))
        record = self._directory.entry("key_changed", context, id=key.id, **told)
        await self._directory.apply([Replace(key)], [void], record=record)
        return _described(key)

    async def delete(self, request: KeyDeleteRequest, context: Context) -> None:
        """Revoke a key.

        Raises:
            PermissionDenied: the caller is no administrator.
            RecordNotFound: there is no such key.

        """
        key, _ = await self._administered(request.id, context)
        void = self._directory.void_for_good("key", key.tenant, key.id)
        record = self._directory.entry("key_deleted", context, **_told(key))
        await self._directory.apply([Delete(key)], [void], record=record)

    async def resolve(self, request: ResolveKeyRequest) -> KeyReply:
        """The caller that a key stands for now.

        Raises:
            Unauthenticated: no key of an active user that has not ended.

        """
        text = parse_key_text(request.key)
        found = () if text is None else await self._store.find(ApiKey, {"id": text.id})
        if text is None or not found or not is_of(text.secret, found[0].secret):
            raise Unauthenticated
        key, now_ms = found[0], self._clock.now_ms()
        owner = await self._directory.user(key.tenant, key.user)
        is_over = key.expires_ms is not None and key.expires_ms <= now_ms
        if is_over or owner is None or not owner.is_active:
            raise Unauthenticated
        if key.used_ms is None or now_ms - key.used_ms >= _USE_NOTED_MS:
            with suppress(WriteConflict):  # somebody else has noted it, or has deleted the key
                await self._directory.apply([Replace(msgspec.structs.replace(key, used_ms=now_ms))])
        return KeyReply(_actor(key, owner), key.id, key.expires_ms)

    async def _administered(self, id_: str, context: Context) -> tuple[ApiKey, User]:
        check_administrator(context)
        which = {"tenant": str(context.tenant), "id": id_}
        found = await self._store.find(ApiKey, which) if id_.isprintable() else ()
        if not found:
            raise RecordNotFound(object="key", id=id_[:100])
        owner = await self._directory.known_user(context.tenant, found[0].user)
        check_may_grant(context, owner.roles)
        return found[0], owner


def _actor(key: ApiKey, owner: User) -> Actor:
    roles = owner.roles
    if key.roles is not None:
        roles = tuple(role for role in roles if role in key.roles)
    if key.scopes is not None:  # administering tenants is no operation on an object
        roles = tuple(role for role in roles if role != SYSTEM_ROLE)
    return Actor(
        id=owner.id,
        tenant=TenantId(owner.tenant),
        roles=roles,
        claims={"name": owner.name, "email": owner.email, "api_key": key.id},
        scopes=key.scopes,
    )


def _check_key(key: ApiKey, owner: User) -> None:
    issues: list[Issue] = []
    if not 0 < len(key.name) <= _MAX_NAME or not key.name.isprintable():
        message = f"a name has 1 to {_MAX_NAME} visible characters"
        issues.append(Issue("name", "invalid", message))
    if key.expires_ms is not None and not 0 <= key.expires_ms <= _LAST_MS:
        issues.append(Issue("expires_at", "invalid", "a key ends between 1970 and 9999"))
    issues += [
        Issue("roles", "not_owned", f'the user has no role "{role[:100]}"')
        for role in key.roles or ()
        if role not in owner.roles
    ]
    issues += [
        Issue("scopes", "invalid", f'"{scope[:100]}" is not object:operation')
        for scope in key.scopes or ()
        if _SCOPE.match(scope) is None
    ]
    if key.scopes is not None and not 0 < len(key.scopes) <= _MAX_SCOPES:
        issues.append(Issue("scopes", "invalid", f"a key has 1 to {_MAX_SCOPES} scopes, or none"))
    if issues:
        raise ValidationFailed(object="key", issues=tuple(issues))


def _told(key: ApiKey) -> dict[str, Any]:
    """Of a key that is new or deleted, for the security log."""
    return {"id": key.id, "owner": key.user, "roles": key.roles, "scopes": key.scopes}


def _described(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "user": key.user,
        "name": key.name,
        "roles": key.roles,
        "scopes": key.scopes,
        "created_at": instant(key.created_ms),
        "expires_at": instant(key.expires_ms),
        "used_at": instant(key.used_ms),
    }
