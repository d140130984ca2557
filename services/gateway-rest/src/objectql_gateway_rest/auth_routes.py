"""`/api/auth`: sign-in and what follows from it, and the administration of users and keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from objectql.context import DEFAULT_TENANT
from objectql.errors import InvalidRequest, Issue, RouteUnknown
from objectql.ids import tenant_id
from objectql.wire import identity as m
from objectql.wire.messages import JsonReply
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.representation import json_response
from objectql_gateway_rest.routes import Route

_NO_STORE: Final = (b"cache-control", b"no-store")
"""Answers with tokens are for nobody's cache (RFC 6749 §5.1)."""
_KEYS_LAST: Final = (b"cache-control", b"public, max-age=15")
"""A key is told half a minute before it signs, of which gateways may lose some ten seconds."""


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """Base of all bodies."""


class SignIn(Body):
    """Body of a sign-in."""

    name: str
    password: str
    tenant: str = DEFAULT_TENANT
    new_password: str | None = None
    cookie: bool = False


class Refresh(Body):
    """Body of a refresh; without a token it is that of the cookie."""

    refresh_token: str | None = None


class SignOut(Body):
    """Body of a sign-out."""

    refresh_token: str | None = None
    everywhere: bool = False


class Password(Body):
    """Body of a change of one's own password."""

    current: str
    new: str


class NewUser(Body):
    """Body that makes a user."""

    name: str
    email: str | None = None
    password: str | None = None
    roles: tuple[str, ...] = ()
    must_change: bool = False
    service: bool = False
    id: str | None = None


class UserChange(Body):
    """Body that changes a user."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    email: str | None | msgspec.UnsetType = msgspec.UNSET
    roles: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    active: bool | msgspec.UnsetType = msgspec.UNSET
    password: str | msgspec.UnsetType = msgspec.UNSET
    must_change: bool | msgspec.UnsetType = msgspec.UNSET


class NewKey(Body):
    """Body that makes an API key."""

    name: str
    user: str | None = None
    roles: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    expires_at: datetime | None = None


class KeyChange(Body):
    """Body that changes an API key."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    expires_at: datetime | None | msgspec.UnsetType = msgspec.UNSET


class Revoke(Body):
    """Body that voids what a user or a session, or as a token of that `jti`, was issued until now."""

    kind: Literal["user", "session", "token"]
    id: str


# --- sessions ------------------------------------------------------------------------------


async def sign_in(call: Call) -> Response:
    body = await call.decode(SignIn)
    if body.cookie:
        call.services.cookies.admit(call.request)
    try:
        call.be_nobody(tenant_id(body.tenant))
    except ValueError as exc:
        issue = Issue("tenant", "invalid", str(exc))
        raise InvalidRequest(reason=str(exc), issues=(issue,)) from exc
    request = m.SignInRequest(body.name, body.password, body.new_password)
    reply = await call.write("auth_sign_in", request, m.TokensReply)
    return _in_cookies(call, reply) if body.cookie else _tokens(reply)


async def refresh(call: Call) -> Response:
    body = await call.decode(Refresh) if (await call.body()).strip() else Refresh()
    token = body.refresh_token
    if token is None:
        token = call.services.cookies.refresh_token(call.request)
    call.be_nobody(DEFAULT_TENANT)
    reply = await call.write("auth_refresh", m.RefreshRequest(token), m.TokensReply)
    return _in_cookies(call, reply) if body.refresh_token is None else _tokens(reply)


async def sign_out(call: Call) -> Response:
    body = await call.decode(SignOut) if (await call.body()).strip() else SignOut()
    request = m.SignOutRequest(body.refresh_token, body.everywhere)
    await call.write("auth_sign_out", request, m.DoneReply)
    return Response(status=204, headers=call.services.cookies.end())


async def change_password(call: Call) -> Response:
    body = await call.decode(Password)
    await call.write("auth_password", m.PasswordRequest(body.current, body.new), m.DoneReply)
    return Response(status=204)


async def me(call: Call) -> Response:
    return Response((await call.read("auth_me", m.MeRequest(), JsonReply)).body)


async def key_set(call: Call) -> Response:
    """The public keys of the tokens that the cluster signs (RFC 7517), for services beside it."""
    if call.services.public_keys is None:
        raise RouteUnknown(path=call.request.path)
    return Response(
        call.services.public_keys(), content_type=b"application/jwk-set+json", headers=[_KEYS_LAST]
    )


def _in_cookies(call: Call, reply: m.TokensReply) -> Response:
    """What a page may know; the tokens are for the browser alone."""
    answer = {"expires_in": reply.expires_in_s, "user": reply.user}
    cookies = call.services.cookies.begin(reply, call.services.clock.now_ms())
    return json_response(answer, headers=[_NO_STORE, *cookies])


def _tokens(reply: m.TokensReply) -> Response:
    answer = {
        "access_token": reply.access_token,
        "token_type": "Bearer",
        "expires_in": reply.expires_in_s,
        "refresh_token": reply.refresh_token,
        "user": reply.user,
    }
    return json_response(answer, headers=[_NO_STORE])


# --- administration ------------------------------------------------------------------------


async def users(call: Call) -> Response:
    after, limit = _page(call)
    return await _items(call, "auth_users", m.UserListRequest(after=after, limit=limit))


async def user(call: Call, id: str) -> Response:
    reply = await call.read("auth_users", m.UserListRequest(id=id), JsonReply)
    return Response(reply.body[1:-1])


async def create_user(call: Call) -> Response:
    body = await call.decode(NewUser)
    request = m.UserCreateRequest(
        name=body.name,
        email=body.email,
        password=body.password,
        roles=body.roles,
        must_change=body.must_change,
        is_service=body.service,
        id=body.id,
    )
    reply = await call.write("auth_user_create", request, JsonReply)
    return Response(reply.body, status=201)


async def update_user(call: Call, id: str) -> Response:
    body = await call.decode(UserChange)
    request = m.UserUpdateRequest(
        id=id,
        name=body.name,
        email=body.email,
        roles=body.roles,
        is_active=body.active,
        password=body.password,
        must_change=body.must_change,
    )
    return Response((await call.write("auth_user_update", request, JsonReply)).body)


async def delete_user(call: Call, id: str) -> Response:
    await call.write("auth_user_delete", m.UserDeleteRequest(id), m.DoneReply)
    return Response(status=204)


async def keys(call: Call) -> Response:
    after, limit = _page(call)
    return await _items(call, "auth_keys", m.KeyListRequest(after=after, limit=limit))


async def create_key(call: Call) -> Response:
    body = await call.decode(NewKey)
    request = m.KeyCreateRequest(
        name=body.name,
        user=body.user,
        roles=body.roles,
        scopes=body.scopes,
        expires_ms=_ms(body.expires_at),
    )
    reply = await call.write("auth_key_create", request, JsonReply)
    return Response(reply.body, status=201, headers=[_NO_STORE])


async def update_key(call: Call, id: str) -> Response:
    body = await call.decode(KeyChange)
    expires = body.expires_at
    request = m.KeyUpdateRequest(
        id=id,
        name=body.name,
        expires_ms=msgspec.UNSET if expires is msgspec.UNSET else _ms(expires),
    )
    return Response((await call.write("auth_key_update", request, JsonReply)).body)


async def delete_key(call: Call, id: str) -> Response:
    await call.write("auth_key_delete", m.KeyDeleteRequest(id), m.DoneReply)
    return Response(status=204)


async def revoke(call: Call) -> Response:
    body = await call.decode(Revoke)
    await call.write("auth_revoke", m.RevokeRequest(body.kind, body.id), m.DoneReply)
    return Response(status=204)


async def _items(call: Call, verb: str, request: msgspec.Struct) -> Response:
    """A page; it ends with the id after which the following begins."""
    reply = await call.read(verb, request, JsonReply)
    return Response(b'{"items":' + reply.body + b"}")


def _page(call: Call) -> tuple[str, int]:
    """`$after` and `$top` of a list; nothing else has a meaning there."""
    found: dict[str, Any] = {"$after": "", "$top": "100"}
    for name, text in call.pairs():
        if name not in found:
            raise InvalidRequest(reason=f"{name[:100]} has no meaning here; use $after and $top")
        found[name] = text
    if not (found["$top"].isascii() and found["$top"].isdecimal() and len(found["$top"]) < 6):
        raise InvalidRequest(reason="$top is a number")
    return found["$after"], int(found["$top"])


def _ms(at: datetime | None) -> int | None:
    if at is None:
        return None
    if at.tzinfo is None:
        raise InvalidRequest(reason="expires_at must name its time zone, as 2030-01-31T12:00:00Z")
    return int(at.timestamp() * 1000)


ROUTES = (
    Route("POST", "/api/auth/sign-in", sign_in, is_public=True, by_address=True),
    Route("POST", "/api/auth/refresh", refresh, is_public=True, by_address=True),
    Route("GET", "/api/auth/jwks.json", key_set, is_public=True),
    Route("POST", "/api/auth/sign-out", sign_out),
    Route("POST", "/api/auth/password", change_password),
    Route("GET", "/api/auth/me", me),
    Route("GET", "/api/auth/users", users),
    Route("POST", "/api/auth/users", create_user),
    Route("GET", "/api/auth/users/{id}", user),
    Route("PATCH", "/api/auth/users/{id}", update_user),
    Route("DELETE", "/api/auth/users/{id}", delete_user),
    Route("GET", "/api/auth/keys", keys),
    Route("POST", "/api/auth/keys", create_key),
    Route("PATCH", "/api/auth/keys/{id}", update_key),
    Route("DELETE", "/api/auth/keys/{id}", delete_key),
    Route("POST", "/api/auth/revoke", revoke),
)
