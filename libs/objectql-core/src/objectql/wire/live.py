"""Messages about live queries: how a gateway learns what a subscription means."""

from __future__ import annotations

from objectql.live.query import LiveQuery
from objectql.query.ast import Query
from objectql.wire.messages import Message


class LiveBindRequest(Message, frozen=True):
    """Verb `live_bind`: what `query` (its object, fields and filter) is to the caller."""

    query: Query


class LiveBindReply(Message, frozen=True):
    """What to match events with, by the metadata of `version` and the tenant's own of `own`."""

    query: LiveQuery
    version: int
    own: int = 0


class UnpublishedRequest(Message, frozen=True):
    """Verb `live_unpublished`: which changes of `object` are committed and not in the stream yet."""

    object: str


class UnpublishedReply(Message, frozen=True):
    """Ids of events. A change that was committed before the question is among them, or is stored."""

    ids: tuple[str, ...] = ()


class StandingRequest(Message, frozen=True):
    """Verb `live_standing`: how `tenants` stand now."""

    tenants: tuple[str, ...]


class StandingReply(Message, frozen=True):
    """`refused` are suspended, deleted or unknown. `own` numbers the newest publication of the
    metadata that tenants have of their own; who has none is not in it.
    """

    refused: tuple[str, ...] = ()
    own: dict[str, int] = {}
