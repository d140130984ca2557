"""Everything about identities in the structs of the bus: one method per verb."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from objectql.clock import Clock
from objectql.context import Context
from objectql.drivers.identity import IdentityStore
from objectql.errors import RecordNotFound, TenantRefused, Unauthenticated
from objectql.ids import is_record_id
from objectql.kernel.audit.recorder import Recorder
from objectql.kernel.identity.api_keys import ApiKeys
from objectql.kernel.identity.directory import (
    Announce,
    Directory,
    check_administrator,
    entries_of,
)
from objectql.kernel.identity.hashing import PasswordWorkers
from objectql.kernel.identity.policy import IdentityPolicy
from objectql.kernel.identity.sessions import Admit, Sessions
from objectql.kernel.identity.signing import Signer
from objectql.kernel.identity.users import Users
from objectql.kernel.json import encode_json
from objectql.kernel.pipeline import AUTH, Pipeline
from objectql.wire import identity as m
from objectql.wire.messages import JsonReply

Q = TypeVar("Q")
R = TypeVar("R")

_ATTEMPTS_KEPT_MS: Final = 86_400_000
_DONE: Final = m.DoneReply()


class Identity:
    """Users, sessions, keys and revocations of one installation."""

    def __init__(
        self,
        store: Callable[[], IdentityStore],
        policy: IdentityPolicy,
        clock: Clock,
        pipeline: Pipeline,
        refusals: Recorder,
    ) -> None:
        """`store` is asked once the data sources are there."""
        self._refusals = refusals
        self._make_store = store
        self._pipeline = pipeline
        self._policy = policy
        self._clock = clock
        self._parts: _Parts | None = None
        self._announce: Announce | None = None

    def announce_by(self, announce: Announce) -> None:
        """Tell every revocation by `announce` from now on."""
        self._announce = announce
        if self._parts is not None:
            self._parts.directory.announce = announce

    def close(self) -> None:
        """Let go of what was started."""
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.workers.close()

    async def purge(self) -> None:
        """Delete what has expired; for a worker to do now and then."""
        now_ms = self._clock.now_ms()
        await self._ready().directory.store.purge(now_ms, now_ms - _ATTEMPTS_KEPT_MS)

    async def ensure_administrator(self, name: str, password: str) -> bool:
        """See `Users.ensure_administrator`."""
        return await self._ready().users.ensure_administrator(name.strip().lower(), password)

    async def void_tenant(self, tenant: str) -> None:
        """See `Directory.void_tenant`."""
        await self._ready().directory.void_tenant(tenant)

    @property
    def directory(self) -> Directory:
        """Users and revocations, for other parts of the kernel that void something."""
        return self._ready().directory

    def _ready(self) -> _Parts:
        if self._parts is None:
            self._parts = _Parts(
                self._make_store(),
                self._policy,
                self._clock,
                self._pipeline.admit,
                self._refusals,
            )
            if self._announce is not None:
                self._parts.directory.announce = self._announce
        return self._parts

    async def _run(
        self, request: Q, context: Context, core: Callable[[Q, Context], Awaitable[R]]
    ) -> R:
        return await self._pipeline.run(AUTH, "*", request, context, core)

    # --- sessions ---

    async def handle_sign_in(self, request: m.SignInRequest, context: Context) -> m.TokensReply:
        """See `Sessions.sign_in`; tenants that may not act look as if nobody were in them."""
        sessions = self._ready().sessions
        try:
            return await self._run(request, context, sessions.sign_in)
        except TenantRefused:
            await sessions.refuse(request, context)

    async def handle_refresh(self, request: m.RefreshRequest, context: Context) -> m.TokensReply:
        """See `Sessions.refresh`."""
        return await self._run(request, context, self._ready().sessions.refresh)

    async def handle_sign_out(self, request: m.SignOutRequest, context: Context) -> m.DoneReply:
        """See `Sessions.sign_out`."""
        await self._run(request, context, self._ready().sessions.sign_out)
        return _DONE

    async def handle_password(self, request: m.PasswordRequest, context: Context) -> m.DoneReply:
        """See `Sessions.change_password`."""
        await self._run(request, context, self._ready().sessions.change_password)
        return _DONE

    async def handle_me(self, request: m.MeRequest, context: Context) -> JsonReply:  # noqa: ARG002
        """Who the caller is, as the token or key says."""
        actor = context.actor
        return _json(
            {
                "id": actor.id,
                "tenant": actor.tenant,
                "roles": actor.roles,
                "scopes": actor.scopes,
                "session": actor.session or None,
                "claims": actor.claims,
            }
        )

    # --- administration ---

    async def handle_users(self, request: m.UserListRequest, context: Context) -> JsonReply:
        """See `Users.list`."""
        return _json(await self._run(request, context, self._ready().users.list))

    async def handle_user_create(self, request: m.UserCreateRequest, context: Context) -> JsonReply:
        """See `Users.create`."""
        return _json(await self._run(request, context, self._ready().users.create))

    async def handle_user_update(self, request: m.UserUpdateRequest, context: Context) -> JsonReply:
        """See `Users.update`."""
        return _json(await self._run(request, context, self._ready().users.update))

    async def handle_user_delete(
        self, request: m.UserDeleteRequest, context: Context
    ) -> m.DoneReply:
        """See `Users.delete`."""
        await self._run(request, context, self._ready().users.delete)
        return _DONE

    async def handle_keys(self, request: m.KeyListRequest, context: Context) -> JsonReply:
        """See `ApiKeys.list`."""
        return _json(await self._run(request, context, self._ready().keys.list))

    async def handle_key_create(self, request: m.KeyCreateRequest, context: Context) -> JsonReply:
        """See `ApiKeys.create`."""
        return _json(await self._run(request, context, self._ready().keys.create))

    async def handle_key_update(self, request: m.KeyUpdateRequest, context: Context) -> JsonReply:
        """See `ApiKeys.update`."""
        return _json(await self._run(request, context, self._ready().keys.update))

    async def handle_key_delete(self, request: m.KeyDeleteRequest, context: Context) -> m.DoneReply:
        """See `ApiKeys.delete`."""
        await self._run(request, context, self._ready().keys.delete)
        return _DONE

    async def handle_revoke(self, request: m.RevokeRequest, context: Context) -> m.DoneReply:
        """Void what a user of the tenant, a session or a token was issued until now.

        Raises:
            PermissionDenied: the caller is no administrator.
            RecordNotFound: nothing has such an id.
            WriteConflict: others change the user all the time.

        """
        return await self._run(request, context, self._revoke)

    async def _revoke(self, request: m.RevokeRequest, context: Context) -> m.DoneReply:
        check_administrator(context)
        if not is_record_id(request.id):
            raise RecordNotFound(object=request.kind, id=request.id[:100])
        users = self._ready().users
        if request.kind == "user" and await users.cut_off(request.id, context):
            return _DONE
        directory = self._ready().directory
        record = directory.entry("tokens_revoked", context, of=request.kind, id=request.id)
        void = directory.void(request.kind, context.tenant, request.id)
        await directory.apply([], [void], record=record)
        return _DONE

    # --- what gateways ask ---

    async def handle_resolve_key(
        self, request: m.ResolveKeyRequest, context: Context
    ) -> m.KeyReply:
        """See `ApiKeys.resolve`; for gateways."""
        _check_system(context)
        return await self._ready().keys.resolve(request)

    async def handle_state(
        self, request: m.IdentityStateRequest, context: Context
    ) -> m.IdentityStateReply:
        """What is void since a version, and the public keys; for gateways."""
        _check_system(context)
        parts = self._ready()
        version, news = await parts.directory.store.revocations(request.after)
        keys = await parts.signer.public_keys()
        return m.IdentityStateReply(version, entries_of(news), keys)


class _Parts:
    """What is made when the store is there."""

    def __init__(
        self,
        store: IdentityStore,
        policy: IdentityPolicy,
        clock: Clock,
        admit: Admit,
        refusals: Recorder,
    ) -> None:
        self.directory = Directory(store, policy, clock, refusals)
        self.workers = PasswordWorkers(policy)
        self.signer = Signer(store, policy, clock)
        self.sessions = Sessions(self.directory, self.workers, self.signer, admit)
        self.users = Users(self.directory, self.workers)
        self.keys = ApiKeys(self.directory)


def _check_system(context: Context) -> None:
    """These are asked by a process for itself, never for a client."""
    if not context.actor.is_system:
        raise Unauthenticated


def _json(value: Any) -> JsonReply:
    return JsonReply(encode_json(value))
