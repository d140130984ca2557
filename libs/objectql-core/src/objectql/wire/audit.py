"""Requests about the audit, and what is told of its chains. See `messages`."""

from __future__ import annotations

from objectql.wire.messages import Message


class AuditListRequest(Message, frozen=True):
    """Verb `audit_list`: a page of the security log, the latest first; answered by `PageReply`.

    Of the caller's tenant where none is named. Entries that equal `kind` and `actor`, from the
    instant `since` on and before `until`; `after` is the `next` of the page before.
    """

    tenant: str | None = None
    kind: str | None = None
    actor: str | None = None
    since: str | None = None
    until: str | None = None
    limit: int = 100
    after: str | None = None


class AuditVerifyRequest(Message, frozen=True):
    """Verb `audit_verify`: follow the chains of a tenant, of the caller's own where none is named.

    `anchor` is a hash that was kept elsewhere. `place` is the one of the reply before: a chain may
    have more entries than can be read in the time of one request.
    """

    tenant: str | None = None
    anchor: str | None = None
    place: bytes | None = None


class AuditVerifyReply(Message, frozen=True):
    """`chains` is a JSON array of those that were followed to their ends; `place` None is the end."""

    chains: bytes
    place: bytes | None = None


class SealedHead(Message, frozen=True):
    """Where a chain of one data source ends now: its last sequence, and the hash of that entry."""

    source: str
    tenant: str
    chain: str
    sequence: int
    hash: str


class HeadsSealed(Message, frozen=True):
    """On `kernel_event("audit")`. Whoever keeps a hash can prove later what came before it."""

    heads: tuple[SealedHead, ...]
