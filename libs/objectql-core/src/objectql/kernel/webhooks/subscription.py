"""What a webhook hears of an event: bound like a live query, told by the same words.

A webhook is a reader that is not there: its filter and fields are bound with what the user or the
roles it stands for may read. What matches decides, by the old and the new image of the record, what
is told: a record that comes into view is `updated` with `match: entered`, one that leaves it is
`deleted` with `match: left` and no more than its id.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from objectql.context import Actor, Context
from objectql.drivers.webhooks import Webhook
from objectql.errors import NotSupported
from objectql.events import ChangeEvent
from objectql.kernel.engine import Engine
from objectql.kernel.live import bind_live
from objectql.kernel.planning import Planner
from objectql.live.images import EventImages
from objectql.live.joins import fields_of
from objectql.live.query import LiveQuery
from objectql.live.telling import Telling, telling
from objectql.query.ast import Query
from objectql.query.matching import matches
from objectql.query.parse import parse_where
from objectql.values import Value

_NEVER_MS: Final = 2**53
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Subscription:
    """One object of one webhook, by one version of the metadata."""

    def __init__(self, webhook: Webhook, actor: Actor, query: LiveQuery) -> None:
        self.webhook = webhook
        self.query = query
        self.actor = actor
        self._where = query.where()
        self._fields = tuple(fields_of(self._where).items())

    def params(self, now_ms: int) -> tuple[Value, ...]:
        """The parameters of the filter."""
        return self.query.params(self.actor, now_ms)

    def hears(self, images: EventImages, now_ms: int) -> Telling | None:
        """What is told of the event, if anything."""
        params = self.params(now_ms)
        seen: list[bool] = []
        for image in (images.old, images.new):
            if image is None:
                seen.append(False)
                continue
            image.need(self._fields)
            seen.append(matches(self._where, image.record, params, _no_lookup))
        found = telling(images.event.kind, was=seen[0], now=seen[1])
        return found if found is not None and found.kind in self.webhook.events else None

    def message(self, event: ChangeEvent, now_ms: int) -> dict[str, Any] | None:
        """What is sent of the event; None where it is not to be told, or not any more."""
        images = EventImages(event)
        found = self.hears(images, now_ms)
        if found is None:
            return None
        data: dict[str, Any] = {
            "tenant": event.tenant,
            "object": event.object,
            "id": event.record_id,
            "operation": found.kind,
        }
        if found.match is not None:
            data["match"] = found.match
        if found.kind != "deleted":
            record = images.data(self.query.outputs, self.query.masks)
            data |= {"version": event.version, "record": msgspec.Raw(record)}
            if found == Telling("updated") and images.old is not None:
                before = images.old.select(self.query.outputs, self.query.masks)
                data["previous"] = self._previous(record, before)
        return {"type": f"{event.object}.{found.kind}", "timestamp": event.at, "data": data}

    def _previous(self, record: bytes, before: bytes) -> dict[str, msgspec.Raw]:
        """The old values of what changed."""
        new = _members(record)
        return {name: value for name, value in _members(before).items() if value != new[name]}


class Binder:
    """Makes subscriptions by the metadata in force."""

    def __init__(self, engine: Engine, planner: Planner) -> None:
        self._engine = engine
        self._planner = planner

    def bind(self, webhook: Webhook, actor: Actor) -> dict[str, Subscription]:
        """The subscriptions of a webhook by object.

        Raises:
            ObjectUnknown, PermissionDenied, and whatever is wrong with filter and fields.
            NotSupported: an event alone cannot tell what a read would answer.

        """
        where = None if webhook.where is None else parse_where(webhook.where)
        fields = tuple((name,) for name in webhook.fields) or None
        found: dict[str, Subscription] = {}
        for object_ in webhook.objects:
            context = Context(actor=actor, deadline_ms=_NEVER_MS, request_id="")
            scope = self._planner.scope(context)
            query = Query(object=object_, fields=fields, where=where)
            live = bind_live(self._engine, self._planner, query, scope)
            if live.joins():
                raise NotSupported(feature="a webhook that looks at other records")
            found[object_] = Subscription(webhook, actor, live)
        return found


def _no_lookup(*_: object) -> None:
    raise AssertionError("a webhook looks at one record")
