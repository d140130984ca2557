"""Messages about live queries: how a gateway learns what a subscription means."""

from __future__ import annotations

from objectql.live.query import LiveQuery
from objectql.query.ast import Query
from objectql.wire.messages import Message


class LiveBindRequest(Message, frozen=True):
    """Verb `live_bind`: what `query` (its object, fields and filter) is to the caller."""

    query: Query


class LiveBindReply(Message, frozen=True):
    """What to match events with, by the metadata of `version`."""

    query: LiveQuery
    version: int


class UnpublishedRequest(Message, frozen=True):
    """Verb `live_unpublished`: which changes of `object` are committed and not in the stream yet."""

    object: str


class UnpublishedReply(Message, frozen=True):
    """Ids of events. A change that was committed before the question is among them, or is stored."""

    ids: tuple[str, ...] = ()


class StandingRequest(Message, frozen=True):
    """Verb `live_standing`: which of `tenants` may act no longer."""

    tenants: tuple[str, ...]


class StandingReply(Message, frozen=True):
    """Tenants that are suspended, deleted or unknown."""

    refused: tuple[str, ...] = ()
