"""Sign-in, refresh, sign-out, change of password.

Every refusal of a sign-in is the same, in what it says and in what it takes: an unknown name costs
the same statements and the same hash as a wrong password (S17). A name that failed too often has to
wait, whether or not there is such a user. A refresh token is good for one use; one that is used
again was stolen, or its thief has used it, so the session ends (RFC 9700 §4.14.2).

Whoever changes a user replaces its row, and so does every commit here that gives tokens: of two
that overlap, one sees what the other did. A token's time is taken before that commit, so what
voids a user after it covers the token.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, NoReturn, TypeAlias, TypeVar

import msgspec

from objectql.context import Context
from objectql.drivers.identity import (
    AttemptLimits,
    IdentityChange,
    Insert,
    Replace,
    Revocation,
    Session,
    User,
)
from objectql.drivers.security_log import SecurityEntry, SecurityKind
from objectql.errors import (
    Overloaded,
    PasswordChangeRequired,
    PermissionDenied,
    RateLimited,
    TenantRefused,
    Unauthenticated,
    WriteConflict,
)
from objectql.ids import TenantId, uuid7
from objectql.kernel.identity.directory import Directory, replaced
from objectql.kernel.identity.hashing import PasswordWorkers
from objectql.kernel.identity.secret_texts import (
    RefreshText,
    digest,
    is_of,
    new_secret,
    parse_refresh,
)
from objectql.kernel.identity.signing import Signer
from objectql.kernel.identity.users import check_password, described
from objectql.kernel.passwords import MAX_PASSWORD_CHARACTERS
from objectql.wire.identity import (
    PasswordRequest,
    RefreshRequest,
    SignInRequest,
    SignOutRequest,
    TokensReply,
)

log = logging.getLogger(__name__)

R = TypeVar("R")

Admit: TypeAlias = Callable[[TenantId], Awaitable[None]]
"""Raises `TenantRefused` for a tenant that may not act."""

_DAY_MS: Final = 86_400_000
_NOBODY: Final = ""
"""Stands for names that no user can have."""

_COMMITS: Final = 8
"""How often a commit is tried while others change the same user."""
_RETRY_AFTER_MS: Final = 1000


class Sessions:
    """The sessions of built-in users."""

    def __init__(
        self, directory: Directory, workers: PasswordWorkers, signer: Signer, admit: Admit
    ) -> None:
        self._directory = directory
        self._store = directory.store
        self._clock = directory.clock
        self._policy = directory.policy
        self._workers = workers
        self._signer = signer
        self._admit = admit
        policy = directory.policy
        self._limits = AttemptLimits(
            policy.free_attempts,
            int(policy.first_wait_s * 1000),
            int(policy.longest_wait_s * 1000),
        )

    async def sign_in(self, request: SignInRequest, context: Context) -> TokensReply:
        """Tokens of a new session.

        Raises:
            Unauthenticated: no such user, another password, or not active; nobody learns which.
            RateLimited: the name has failed too often and has to wait.
            PasswordChangeRequired: the password is right, and a new one must come with it.
            ValidationFailed: the new password is none.
            Overloaded: too many sign in at once.

        """
        tenant, name = context.tenant, request.name.strip().lower()
        if not name.isprintable():
            name = _NOBODY
        user = await self._directory.user_called(tenant, name)
        # As it was typed: a counter that name and email share tells that they are one user's.
        user = await self._proven(context, name[:255], user, request.password)
        hashed = await self._new_hash(user, request)

        async def open_session(user: User) -> TokensReply:
            return await self._open(user, request, hashed, context)

        tokens = await self._while_proven(user, request.password, open_session, context)
        self._tell("signed_in", user, context)
        return tokens

    async def refuse(self, request: SignInRequest, context: Context) -> NoReturn:
        """Refuse a sign-in to a tenant that may not act, in the time that a wrong password takes."""
        name = request.name.strip().lower()[:255]
        counted = name if name.isprintable() else _NOBODY
        await self._directory.user_called(context.tenant, counted)
        await self._proven(context, counted, None, request.password, is_recorded=False)
        raise Unauthenticated

    async def refresh(self, request: RefreshRequest, context: Context) -> TokensReply:
        """New tokens of the same session; the old refresh token is spent.

        Raises:
            Unauthenticated: not a refresh token of a live session, or its tenant may not act. One
                that was used before ends the session.
            Overloaded: others change the user all the time.

        """
        text = parse_refresh(request.refresh_token)
        found = () if text is None else await self._store.find(Session, {"id": text.session})
        if text is None or not found or not is_of(text.family, found[0].family):
            self._refuse("refresh_unknown", context)
        try:  # the request is nobody's, so only the session tells which tenant is asked for
            await self._admit(TenantId(found[0].tenant))
        except TenantRefused:
            self._refuse("refresh_tenant", context)
        for _ in range(_COMMITS):
            session, now_ms = found[0], self._clock.now_ms()
            user = await self._directory.user(session.tenant, session.user)
            if session.expires_ms <= now_ms or user is None or not user.is_active:
                await self._directory.end_sessions([session])
                self._refuse("refresh_ended", context)
            if not is_of(text.single, session.refresh):
                record = self._record("refresh_reused", session, context)
                await self._directory.end_sessions([session], record)
                self._refuse("refresh_reused", context)
            following = text._replace(single=new_secret())
            changed = msgspec.structs.replace(session, refresh=digest(following.single))
            with suppress(
                WriteConflict
            ):  # the user was changed, or the token is used twice at once
                await self._directory.apply([Replace(user), Replace(changed)])
                return await self._tokens(user, session, following, now_ms)
            found = await self._store.find(Session, {"id": text.session})
            if not found:
                self._refuse("refresh_ended", context)
        raise Overloaded(retry_after_ms=_RETRY_AFTER_MS)

    async def sign_out(self, request: SignOutRequest, context: Context) -> None:
        """End a session of the caller's tenant, or all of the caller's.

        What has ended, and what is another tenant's, is no error and is left as it is.

        Raises:
            PermissionDenied: by a key that is good for some objects only.

        """
        actor = context.actor
        if actor.scopes is not None:
            raise PermissionDenied(operation="end", object="sessions")
        text = parse_refresh(request.refresh_token or "")
        if request.everywhere:
            found = await self._directory.sessions_of(actor.tenant, actor.id)
            record = self._directory.entry("signed_out", context, sessions=len(found))
            await self._directory.end_sessions(found, record)
        elif text is not None:
            found = await self._store.find(Session, {"tenant": actor.tenant, "id": text.session})
            if found and is_of(text.family, found[0].family):
                record = self._record("signed_out", found[0], context)
                await self._directory.end_sessions(found, record)
        elif actor.session:
            found = await self._store.find(Session, {"tenant": actor.tenant, "id": actor.session})
            record = self._directory.entry("signed_out", context, session=actor.session)
            await self._directory.end_sessions((s for s in found if s.user == actor.id), record)

    async def change_password(self, request: PasswordRequest, context: Context) -> None:
        """Set the caller's password and end the caller's other sessions.

        Raises:
            PermissionDenied: by a key that is good for some objects only.
            Unauthenticated: the current password is another, or the caller has none.
            RateLimited: it was guessed at too often.
            ValidationFailed: the new password is none.

        """
        actor = context.actor
        if actor.scopes is not None:
            raise PermissionDenied(operation="change", object="the password")
        if not actor.session:
            raise Unauthenticated
        user = await self._directory.user(actor.tenant, actor.id)
        counted = actor.id if user is None else user.name
        user = await self._proven(context, counted, user, request.current)
        check_password(request.new, user, self._policy)
        hashed = await self._workers.hash(request.new)

        async def replace(user: User) -> None:
            changed = replaced(user, self._clock, password=hashed, must_change=False)
            ends, revoke = await self._directory.ends_of(user, but=actor.session)
            record = self._directory.entry("password_changed", context)
            await self._directory.apply([Replace(changed), *ends], revoke, record=record)

        await self._while_proven(user, request.current, replace, context)
        self._tell("password_changed", user, context)

    # --- parts -----------------------------------------------------------------------------

    async def _proven(
        self,
        context: Context,
        counted: str,
        user: User | None,
        password: str,
        *,
        is_recorded: bool = True,
    ) -> User:
        """The user, whose password this is. What is refused in a tenant that may not act is in no log.

        Raises:
            RateLimited, Unauthenticated

        """
        tenant = context.tenant
        locked_ms = await self._store.attempt(tenant, counted, self._clock.now_ms(), self._limits)
        if locked_ms:
            log.info("sign_in_locked", extra={"tenant": tenant, "cause": "attempts"})
            if is_recorded:
                self._refused("sign_in_locked", user, counted, context, cause="attempts")
            raise RateLimited(retry_after_ms=max(1, locked_ms - self._clock.now_ms()))
        stored = user.password if user is not None and user.is_active else None
        is_right = await self._is_right(password, stored)
        if user is None or not is_right:
            cause = "unknown" if user is None else "password" if user.is_active else "disabled"
            log.info("sign_in_refused", extra={"tenant": tenant, "cause": cause})
            if is_recorded:
                self._refused("sign_in_refused", user, counted, context, cause=cause)
            raise Unauthenticated
        await self._store.forget_attempts(tenant, counted)
        return user

    async def _is_right(self, password: str, stored: str | None) -> bool:
        return await self._workers.verify(password[: MAX_PASSWORD_CHARACTERS + 1], stored)

    async def _while_proven(
        self,
        user: User,
        password: str,
        commit: Callable[[User], Awaitable[R]],
        context: Context,
    ) -> R:
        """What `commit` gives; tried again with a user changed since, as long as that one is proven.

        Raises:
            Unauthenticated: the password is not right any more, or nobody's.

        """
        for _ in range(_COMMITS):
            with suppress(WriteConflict):
                return await commit(user)
            fresh = await self._directory.user(user.tenant, user.id)
            if fresh is None or not fresh.is_active:
                break
            is_same = fresh.password == user.password
            if not is_same and not await self._is_right(password, fresh.password):
                break
            user = fresh
        log.info("sign_in_refused", extra={"tenant": user.tenant, "cause": "changed"})
        self._refused("sign_in_refused", user, user.name, context, cause="changed")
        raise Unauthenticated

    async def _new_hash(self, user: User, request: SignInRequest) -> str | None:
        """What to store instead of the user's hash: of the new password, or of the old one anew."""
        if request.new_password is not None:
            check_password(request.new_password, user, self._policy)
            return await self._workers.hash(request.new_password)
        if user.must_change:
            raise PasswordChangeRequired
        if user.password is not None and self._workers.is_outdated(user.password):
            return await self._workers.hash(request.password)
        return None

    async def _open(
        self, user: User, request: SignInRequest, hashed: str | None, context: Context
    ) -> TokensReply:
        """Tokens of a new session of exactly this version of the user; a new password ends others."""
        if user.must_change and request.new_password is None:
            raise PasswordChangeRequired
        changed = user
        if hashed is not None:
            changed = replaced(user, self._clock, password=hashed, must_change=False)
        now_ms = self._clock.now_ms()
        text = RefreshText(uuid7(), new_secret(), new_secret())
        session = Session(
            tenant=user.tenant,
            id=text.session,
            user=user.id,
            family=digest(text.family),
            refresh=digest(text.single),
            created_ms=now_ms,
            expires_ms=now_ms + int(self._policy.session_days * _DAY_MS),
        )
        ends: list[IdentityChange] = []
        revoke: list[Revocation] = []
        if request.new_password is not None:
            ends, revoke = await self._directory.ends_of(user)
        record = self._directory.entry(
            "signed_in",
            context,
            user.id,
            session=session.id,
            set_password=request.new_password is not None,
        )
        changes = [Replace(changed), *ends, Insert(session)]
        await self._directory.apply(changes, revoke, record=record)
        return await self._tokens(changed, session, text, now_ms)

    async def _tokens(
        self, user: User, session: Session, text: RefreshText, issued_ms: int
    ) -> TokensReply:
        issued_s = issued_ms / 1000
        claims = {
            "sub": user.id,
            "tenant": user.tenant,
            "roles": user.roles,
            "name": user.name,
            "email": user.email,
            "sid": session.id,
            "iat": issued_s,
            "exp": issued_s + self._policy.access_s,
        }
        return TokensReply(
            access_token=await self._signer.sign(claims),
            refresh_token=str(text),
            expires_in_s=self._policy.access_s,
            session=session.id,
            session_expires_ms=session.expires_ms,
            user=described(user),
        )

    def _record(self, kind: SecurityKind, session: Session, context: Context) -> SecurityEntry:
        """Of whoever has a refresh token, in the log of the tenant and user whose session it is."""
        entry = self._directory.entry(kind, context, session.user, session=session.id)
        return msgspec.structs.replace(entry, tenant=session.tenant)

    def _refused(
        self, kind: SecurityKind, user: User | None, counted: str, context: Context, *, cause: str
    ) -> None:
        """Nobody is the actor: it was not proved. Only the id of a user that there is can be told."""
        told = {} if user is None else {"user": user.id}
        entry = self._directory.entry(kind, context, "", cause=cause, **told)
        self._directory.refusals.refused(entry, counted)

    def _refuse(self, cause: str, context: Context) -> NoReturn:
        log.info("refresh_refused", extra={"cause": cause, "request_id": context.request_id})
        raise Unauthenticated

    def _tell(self, event: str, user: User, context: Context) -> None:
        facts = {"tenant": user.tenant, "user": user.id, "request_id": context.request_id}
        log.info(event, extra=facts)
