"""Messages about who is calling: sign-ins, keys, and what gateways must know to believe a token.

Passwords and tokens travel in bodies, never in headers; no message of this module is ever logged.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from objectql.context import Actor
from objectql.wire.messages import Message

# --- sessions ------------------------------------------------------------------------------


class SignInRequest(Message, frozen=True):
    """Verb `auth_sign_in`. `name` may be the user's email; the tenant is the context's."""

    name: str
    password: str
    new_password: str | None = None


class RefreshRequest(Message, frozen=True):
    """Verb `auth_refresh`: a refresh token, which is good for one use."""

    refresh_token: str


class TokensReply(Message, frozen=True):
    """What a sign-in or a refresh gives. `session` is the `sid` of the access token."""

    access_token: str
    refresh_token: str
    expires_in_s: int
    session: str
    session_expires_ms: int
    user: dict[str, Any] = {}


class SignOutRequest(Message, frozen=True):
    """Verb `auth_sign_out`: end the session of the access token or of `refresh_token`, or all."""

    refresh_token: str | None = None
    everywhere: bool = False


class PasswordRequest(Message, frozen=True):
    """Verb `auth_password`: the caller's own password; ends the caller's other sessions."""

    current: str
    new: str


class DoneReply(Message, frozen=True):
    """It is done."""


class MeRequest(Message, frozen=True):
    """Verb `auth_me`: who the caller is; answered by `JsonReply`."""


# --- administration ------------------------------------------------------------------------


class UserListRequest(Message, frozen=True):
    """Verb `auth_users`: the tenant's users, or one; answered by `JsonReply`."""

    id: str | None = None
    after: str = ""
    limit: int = 100


class UserCreateRequest(Message, frozen=True):
    """Verb `auth_user_create`; answered by `JsonReply`.

    Without a password the user is a service account, or one whom an external issuer knows by `id`.
    """

    name: str
    email: str | None = None
    password: str | None = None
    roles: tuple[str, ...] = ()
    must_change: bool = False
    is_service: bool = False
    id: str | None = None


class UserUpdateRequest(Message, frozen=True):
    """Verb `auth_user_update`; what is unset stays. Answered by `JsonReply`."""

    id: str
    name: str | msgspec.UnsetType = msgspec.UNSET
    email: str | None | msgspec.UnsetType = msgspec.UNSET
    roles: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    is_active: bool | msgspec.UnsetType = msgspec.UNSET
    password: str | msgspec.UnsetType = msgspec.UNSET
    must_change: bool | msgspec.UnsetType = msgspec.UNSET


class UserDeleteRequest(Message, frozen=True):
    """Verb `auth_user_delete`: with the user's sessions and keys."""

    id: str


class KeyListRequest(Message, frozen=True):
    """Verb `auth_keys`; answered by `JsonReply`."""

    user: str | None = None
    after: str = ""
    limit: int = 100


class KeyCreateRequest(Message, frozen=True):
    """Verb `auth_key_create`; the `JsonReply` holds the key itself, which is never told again."""

    name: str
    user: str | None = None
    roles: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    expires_ms: int | None = None


class KeyUpdateRequest(Message, frozen=True):
    """Verb `auth_key_update`: another name, or an earlier or later end. Answered by `JsonReply`."""

    id: str
    name: str | msgspec.UnsetType = msgspec.UNSET
    expires_ms: int | None | msgspec.UnsetType = msgspec.UNSET


class KeyDeleteRequest(Message, frozen=True):
    """Verb `auth_key_delete`."""

    id: str


class RevokeRequest(Message, frozen=True):
    """Verb `auth_revoke`: void what was issued until now to a user, session or token (`jti`)."""

    kind: Literal["user", "session", "token"]
    id: str


# --- what gateways ask ---------------------------------------------------------------------


class ResolveKeyRequest(Message, frozen=True):
    """Verb `auth_resolve_key`: whose API key this is."""

    key: str


class KeyReply(Message, frozen=True):
    """The caller that a key stands for, and until when (Unix ms) it does."""

    actor: Actor
    key: str
    expires_ms: int | None = None


class RevokedEntry(Message, frozen=True):
    """See `objectql.drivers.identity.Revocation`. A kind that is not known voids nothing."""

    kind: str
    tenant: str
    id: str
    before_ms: int
    until_ms: int


Revoked: TypeAlias = tuple[RevokedEntry, ...]


class IdentityStateRequest(Message, frozen=True):
    """Verb `auth_state`: what is new since version `after`; -1 asks for everything."""

    after: int = -1


class IdentityStateReply(Message, frozen=True):
    """The newest version, what was revoked since, and the cluster's public keys as a JWK set."""

    version: int
    revoked: Revoked = ()
    keys: bytes = b'{"keys":[]}'


class IdentityChanged(Message, frozen=True):
    """On `kernel_event("identity")`: the revocations that a commit made, as `version`.

    Whoever knows less than `version - 1` has missed something and asks `auth_state`.
    """

    version: int
    revoked: Revoked = ()
