"""The security log as administrators read it."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final, get_args

from objectql.drivers.security_log import SecurityEntry, SecurityFilter, SecurityKind, SecurityLog
from objectql.errors import InvalidQuery, TooManyRecords
from objectql.ids import TenantId
from objectql.kernel.history import origin_of, position_of
from objectql.kernel.json import encode_json
from objectql.query.cursor import encode_cursor
from objectql.values import canonical_instant
from objectql.wire.audit import AuditListRequest
from objectql.wire.messages import PageReply

MAX_ENTRIES: Final = 1000
"""Of one page."""

_KINDS: Final = frozenset(get_args(SecurityKind))


async def page_of(log: SecurityLog, tenant: TenantId, request: AuditListRequest) -> PageReply:
    """Entries of a tenant, the latest first.

    Raises:
        InvalidQuery: a kind that there is not, a time that is none, or no cursor of this list.
        TooManyRecords: the page's size.

    """
    if not 0 < request.limit <= MAX_ENTRIES:
        raise TooManyRecords(requested=request.limit, max=MAX_ENTRIES)
    if request.kind is not None and request.kind not in _KINDS:
        kinds = ", ".join(sorted(_KINDS))
        raise InvalidQuery(reason=f"the kinds of entries are {kinds}", path="kind")
    which = SecurityFilter(
        kind=request.kind,
        actor=request.actor,
        since=_instant(request.since, "from"),
        until=_instant(request.until, "to"),
    )
    digest = blake2b(f"security/{tenant}".encode(), digest_size=8).hexdigest()
    before = None if request.after is None else position_of(request.after, digest)
    found = await log.page(tenant, which, limit=request.limit + 1, before=before)
    entries, has_next = found[: request.limit], len(found) > request.limit
    return PageReply(
        items=encode_json([_described(entry) for _, entry in entries]),
        count=len(entries),
        limit=request.limit,
        has_next=has_next,
        next=encode_cursor(digest, encode_json([entries[-1][0]])) if has_next else None,
    )


def _instant(text: str | None, path: str) -> str | None:
    if text is None:
        return None
    try:
        return canonical_instant(text)
    except ValueError as exc:
        raise InvalidQuery(reason=str(exc), path=path) from exc


def _described(entry: SecurityEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": entry.at,
        "kind": entry.kind,
        "actor": entry.actor or None,
        "from": origin_of(entry.origin),
        "request_id": entry.request_id or None,
        "details": entry.details,
    }
