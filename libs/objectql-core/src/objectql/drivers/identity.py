"""What the store of identities promises: who there is, their sessions and keys, what is revoked.

Rows are frozen structs with a `version`; all changes go through `IdentityStore.apply`, which is all
or nothing and refuses a row that was changed since it was read. Decisions are made by
`kernel.identity`, never here. Times are Unix milliseconds of the caller's clock, secrets hashes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, Protocol, TypeAlias, TypeVar

import msgspec

from objectql.drivers.security_log import SecurityEntry

FOREVER_MS = 2**53
"""A time that never comes, and that JSON numbers still hold exactly."""

NO_CONDITION: Final[Mapping[str, str]] = MappingProxyType({})

RevocationKind: TypeAlias = Literal["tenant", "user", "session", "key", "token"]


class IdentityRow(msgspec.Struct, frozen=True, kw_only=True):
    """What all rows have. `version` is set by the store: 1, then one more with each change."""

    tenant: str
    id: str
    version: int = 1


class User(IdentityRow, frozen=True, kw_only=True):
    """Somebody who may sign in, or a service account (no `password`), or a known stranger.

    `name` and `email` are in lower case and each unique within the tenant. `password` is an
    argon2id hash. A user of an external issuer has the id that its tokens have as `sub`.
    """

    name: str
    email: str | None = None
    password: str | None = None
    roles: tuple[str, ...] = ()
    is_active: bool = True
    must_change: bool = False
    is_service: bool = False
    created_ms: int
    updated_ms: int


class Session(IdentityRow, frozen=True, kw_only=True):
    """A sign-in that has not ended. `family` and `refresh` are SHA-256 hashes.

    A refresh token holds a secret of the family, which shows that it was once genuine, and one that
    is good for a single use.
    """

    user: str
    family: bytes
    refresh: bytes
    created_ms: int
    expires_ms: int


class ApiKey(IdentityRow, frozen=True, kw_only=True):
    """A key of a user. `secret` is a SHA-256 hash; `roles` and `scopes` of None are the user's."""

    user: str
    name: str
    secret: bytes
    roles: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    created_ms: int
    expires_ms: int | None = None
    used_ms: int | None = None


class SigningKey(IdentityRow, frozen=True, kw_only=True):
    """An Ed25519 key of the cluster, of no tenant; its `id` is the `kid` of what it signs.

    It is published when it is made and signs from `signs_from_ms` on, so that everybody knows it.
    """

    private: bytes
    created_ms: int
    signs_from_ms: int


class Revocation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was issued to this tenant, user, session, key or token before `before_ms` is void.

    `version` is set by the store and grows with every change; `until_ms` says when nothing is left
    that it could void. For a tenant `id` is empty.
    """

    kind: RevocationKind
    tenant: str
    id: str
    before_ms: int
    until_ms: int = FOREVER_MS
    version: int = 0


R = TypeVar("R", bound=IdentityRow)


class Insert(msgspec.Struct, frozen=True):
    """A new row."""

    row: IdentityRow


class Replace(msgspec.Struct, frozen=True):
    """The row as it shall be, with the `version` it was read with."""

    row: IdentityRow


class Delete(msgspec.Struct, frozen=True):
    """No such row, if there is one."""

    row: IdentityRow


IdentityChange: TypeAlias = Insert | Replace | Delete


class AttemptLimits(msgspec.Struct, frozen=True):
    """How many sign-ins may fail, and how long a name waits then: `first_ms`, doubled each time."""

    free: int = 5
    first_ms: int = 2_000
    longest_ms: int = 900_000


class IdentityStore(Protocol):
    """One per installation, in its default data source."""

    async def apply(
        self,
        changes: Sequence[IdentityChange],
        revoke: Sequence[Revocation] = (),
        *,
        record: Sequence[SecurityEntry] = (),
    ) -> int:
        """Make all changes and revocations, or none; the version of the revocations (0: none).

        `record` goes to the security log, in the same transaction.

        Versions are given in the order of commits. A later revocation of the same thing takes the
        place of an earlier one.

        Raises:
            UniqueViolation: an id, or the name or email of a user, is taken.
            WriteConflict: a row to replace was changed or deleted meanwhile.

        """
        ...

    async def find(
        self,
        type_: type[R],
        equal: Mapping[str, str] = NO_CONDITION,
        *,
        limit: int = 1000,
        after: str = "",
    ) -> tuple[R, ...]:
        """The rows whose fields equal the given ones, in the order of their ids, after one of them."""
        ...

    async def revocations(self, after: int) -> tuple[int, tuple[Revocation, ...]]:
        """The newest version, and what was revoked with a version above `after`."""
        ...

    async def attempt(self, tenant: str, name: str, now_ms: int, limits: AttemptLimits) -> int:
        """Count an attempt to sign in; 0 if it may go on, else until when the name is locked.

        Counted before the password is looked at, so that many at once are no way around it.
        """
        ...

    async def forget_attempts(self, tenant: str, name: str) -> None:
        """It succeeded."""
        ...

    async def purge(self, now_ms: int, oldest_attempt_ms: int) -> None:
        """Delete expired sessions, what revokes nothing any more, and attempts before a time."""
        ...
