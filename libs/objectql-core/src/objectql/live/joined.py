"""Who saw a record, and who sees it, where other records decide too: commit by commit.

Pure: whoever uses it reads what `pointing` and `targets` name, at any time after the commits, and
lets the `Timeline` have every change up to then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, TypeAlias

from objectql.ids import FieldName, ObjectName
from objectql.live.images import EventImages, Image
from objectql.live.joins import Join, fields_of
from objectql.live.query import LiveQuery
from objectql.live.telling import Seen
from objectql.live.timeline import Timeline
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.query.matching import matches
from objectql.values import Record, Value

Side: TypeAlias = Literal["before", "after"]


class JoinedQuery:
    """A query that looks through lookups, ready to be asked of commits."""

    def __init__(self, query: LiveQuery) -> None:
        self.query = query
        self.joins = query.joins()
        self._where = query.where()
        self._fields = tuple(fields_of(self._where).items())
        self._needed: defaultdict[ObjectName, dict[FieldName, object]] = defaultdict(dict)
        for join in self.joins:
            self._needed[join.target] |= join.fields

    @property
    def own_fields(self) -> list[FieldName]:
        """What is looked at of the record itself."""
        return [name for name, _ in self._fields]

    def fields_of(self, target: ObjectName) -> list[FieldName]:
        """What is looked at of records of `target`."""
        return list(self._needed[target])

    def is_turned_by(self, images: EventImages) -> bool:
        """Whether an event changes what other records mean, through a lookup to its record."""
        return any(self._turns(join, images) for join in self.joins)

    def pointing(self, events: Iterable[EventImages]) -> Mapping[FieldName, set[str]]:
        """By lookup, to which records those point whose meaning `events` have changed."""
        found: defaultdict[FieldName, set[str]] = defaultdict(set)
        for images in events:
            for join in self.joins:
                if self._turns(join, images):
                    found[join.lookup].add(images.event.record_id)
        return found

    def targets(self, images: Iterable[Image]) -> Mapping[ObjectName, set[str]]:
        """By object, the records that those of `images` point to."""
        found: defaultdict[ObjectName, set[str]] = defaultdict(set)
        for image in images:
            image.need(self._fields)
            for join in self.joins:
                id_ = image.record[join.lookup]
                if isinstance(id_, str):
                    found[join.target].add(id_)
        return found

    def seen(
        self,
        number: int,
        events: Sequence[EventImages],
        timeline: Timeline,
        params: Sequence[Value],
    ) -> list[Seen]:
        """What somebody saw and sees of the commit `number`, whose events are `events`."""
        own = [images for images in events if images.event.object == self.query.object]
        found = list(self._changed(number, own, timeline, params))
        changed = {images.event.record_id for images in own}
        causes = [images for images in events if self.is_turned_by(images)]
        for id_, image in self._pointing(number, causes, timeline):
            if id_ in changed:
                continue
            was = self._holds(image, number, "before", timeline, params)
            now = self._holds(image, number, "after", timeline, params)
            if was != now:
                cause = causes[0].event
                turned = EventImages.turned(cause, self.query.object, id_, image)
                found.append(Seen(was, now, turned))
        return found

    def _changed(
        self,
        number: int,
        own: Iterable[EventImages],
        timeline: Timeline,
        params: Sequence[Value],
    ) -> Iterator[Seen]:
        """Of records that have changed themselves, some of them more than once."""
        sees: dict[str, bool] = {}
        for images in own:
            id_ = images.event.record_id
            was = sees.get(id_)
            if was is None:
                was = self._holds(images.old, number, "before", timeline, params)
            now = self._holds(images.new, number, "after", timeline, params)
            sees[id_] = now
            if was or now:
                yield Seen(was, now, images)

    def _pointing(
        self, number: int, causes: Iterable[EventImages], timeline: Timeline
    ) -> Iterator[tuple[str, Image]]:
        """Records that point to what `causes` have changed."""
        turned = self.pointing(causes)
        if not turned:
            return
        object_ = self.query.object
        for id_ in sorted(timeline.records(object_)):
            image = timeline.before(number, (object_, id_))
            if image is None:
                continue
            image.need(self._fields)
            if any(image.record[lookup] in ids for lookup, ids in turned.items()):
                yield id_, image

    def _holds(
        self,
        image: Image | None,
        number: int,
        side: Side,
        timeline: Timeline,
        params: Sequence[Value],
    ) -> bool:
        if image is None:
            return False
        image.need(self._fields)
        lookup = partial(self._lookup, number, side, timeline)
        return matches(self._where, image.record, params, lookup)

    def _lookup(
        self,
        number: int,
        side: Side,
        timeline: Timeline,
        field: FieldDef,
        target: ObjectDef,
        record: Record,
    ) -> Record | None:
        id_ = record[field.name]
        if not isinstance(id_, str):
            return None
        at = timeline.before if side == "before" else timeline.after
        image = at(number, (target.name, id_))
        if image is None:
            return None
        for join in self.joins:
            if join.target == target.name:
                image.need(join.fields.items())
        return image.record

    def _turns(self, join: Join, images: EventImages) -> bool:
        return images.event.object == join.target and join.values(images.old) != join.values(
            images.new
        )
