"""What a gateway knows about identities: what is void, the cluster's keys, and whose a key is.

Kernels tell every revocation as they commit it. What a process has not heard it notices within half
a second, since revocations are numbered and it asks for the newest number.
"""

from __future__ import annotations

import json
from typing import Any, Final, TypeVar

import jwt
import msgspec

from objectql.bus.port import Bus, Envelope
from objectql.clock import Clock
from objectql.context import Context, system_actor
from objectql.errors import Unavailable
from objectql.ids import uuid7
from objectql.service.following import Follower
from objectql.service.kernel import Kernel
from objectql.service.revocations import Revocations
from objectql.wire import codec, subjects
from objectql.wire.identity import (
    IdentityChanged,
    IdentityStateReply,
    IdentityStateRequest,
    KeyReply,
    ResolveKeyRequest,
)

T = TypeVar("T")

POLL_S: Final = 0.5
"""How long a lost event may go unnoticed."""

_TIMEOUT_MS: Final = 5000
_FORGET_EVERY_S: Final = 60.0
_EVERYTHING: Final = -1
_RESOLVE_ATTEMPTS: Final = 3


class IdentityView:
    """The newest that was heard. `start` keeps it fresh until `stop`."""

    def __init__(self, source: Kernel, clock: Clock) -> None:
        self.revocations = Revocations()
        self._source = source
        self._clock = clock
        self._version = _EVERYTHING
        self._keys_text = b""
        self._keys: dict[str, jwt.PyJWK] = {}
        self._forgot_s = clock.monotonic_s()
        self._follower = Follower(
            "identity",
            subjects.kernel_event(subjects.IDENTITY),
            refresh=self.refresh,
            hear=self._hear,
            clock=clock,
            poll_s=POLL_S,
        )

    @property
    def is_loaded(self) -> bool:
        """Whether a kernel has said what is void; before that nobody can be believed."""
        return self._version != _EVERYTHING

    async def start(self, bus: Bus) -> None:
        """Follow from now on; returns without waiting for an answer."""
        self._follower.start(bus)

    async def stop(self) -> None:
        """Stop following."""
        await self._follower.stop()

    def public_keys(self) -> bytes:
        """The JWK set of the tokens that the cluster signs, as it was heard last.

        Raises:
            Unavailable: no kernel has told it yet.

        """
        if not self._keys_text:
            raise Unavailable(what="the identities", retry_after_ms=1000)
        return self._keys_text

    async def public_key(self, kid: str) -> jwt.PyJWK | None:
        """The cluster's key with an id; a kernel is asked if it is not known yet."""
        if kid not in self._keys and self.is_loaded and kid.startswith("oql-"):
            await self.refresh()
        return self._keys.get(kid)

    async def resolve(self, key: str) -> KeyReply:
        """Whose API key it is.

        Raises:
            Unauthenticated: nobody's.
            Unavailable: things change faster than they can be asked.

        """
        for _ in range(_RESOLVE_ATTEMPTS):
            changes = self.revocations.changes
            reply = await self._ask("auth_resolve_key", ResolveKeyRequest(key), KeyReply)
            if changes == self.revocations.changes:  # or the answer may be of before
                return reply
        raise Unavailable(what="the identities")

    async def refresh(self) -> None:
        """Ask a kernel what is new.

        Raises:
            ObjectQLError: none answers.

        """
        reply = await self._ask(
            "auth_state", IdentityStateRequest(self._version), IdentityStateReply
        )
        if reply.version < self._version:  # the store was put back to an earlier state
            reply = await self._ask("auth_state", IdentityStateRequest(), IdentityStateReply)
            self.revocations.replace_all(reply.revoked)
            self._version = reply.version
        self.revocations.learn(reply.revoked)
        self._version = max(self._version, reply.version)
        self._learn_keys(reply.keys)
        now_s = self._clock.monotonic_s()
        if now_s - self._forgot_s >= _FORGET_EVERY_S:
            self._forgot_s = now_s
            self.revocations.forget_expired(self._clock.now_ms())

    def _hear(self, message: Envelope) -> None:
        news = codec.decode(IdentityChanged, message.body)
        if news.version <= self._version:
            return
        self.revocations.learn(news.revoked)
        if news.version == self._version + 1:
            self._version = news.version
        else:
            self._follower.wake()

    def _learn_keys(self, text: bytes) -> None:
        if text == self._keys_text:
            return
        entries: list[dict[str, Any]] = json.loads(text)["keys"]
        self._keys = {entry["kid"]: jwt.PyJWK(entry) for entry in entries}
        self._keys_text = text

    async def _ask(self, verb: str, request: msgspec.Struct, reply_type: type[T]) -> T:
        context = Context(
            actor=system_actor(),
            deadline_ms=self._clock.now_ms() + _TIMEOUT_MS,
            request_id=uuid7(),
        )
        return await self._source.call(verb, request, context, reply_type)
