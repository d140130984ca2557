"""Commits that concern a subscription through lookups: settled together, in order, exactly.

They wait in a row. What they ask of other records is read, every change up to then is waited for,
and then `objectql.live.timeline` tells what each record was at each commit (ADR 0026).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Final, NamedTuple, TypeVar

import msgspec

from objectql.clock import Clock
from objectql.context import Context, ReadPolicy, system_actor
from objectql.errors import ObjectQLError, TooManyRecords, Unavailable
from objectql.ids import ObjectName, TenantId, uuid7
from objectql.live.commits import Place
from objectql.live.images import EventImages, Image
from objectql.live.joined import JoinedQuery
from objectql.live.matcher import MISFITS
from objectql.live.query import LiveQuery
from objectql.live.telling import Seen
from objectql.live.timeline import Timeline
from objectql.query.ast import Compare, Op, Query
from objectql.service.kernel import Kernel
from objectql.service.live.hub import Hub
from objectql.service.live.subscription import MAX_HELD, TooMuchHeld
from objectql.values import Value
from objectql.wire.live import UnpublishedReply, UnpublishedRequest
from objectql.wire.messages import FindRequest, PageReply

T = TypeVar("T")

TIMEOUT_S: Final = 10.0

MOST: Final = 1000
"""Records that may point to what has changed."""

_BATCH: Final = 100
"""Commits that are settled together."""

_IDS: Final = 200
"""Records that are asked for at a time."""

_PAUSE_S: Final = 0.25

_ALWAYS_NULL: Final = frozenset({"deleted_at"})
"""Fields that nobody asks for: a record that is found has none."""

_members = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Reader:
    """Reads records as they are now, whoever may see them, and waits for the stream to get there."""

    def __init__(self, kernel: Kernel, hub: Hub, clock: Clock) -> None:
        self._kernel = kernel
        self._hub = hub
        self._clock = clock

    async def heard_all(self, tenant: TenantId, objects: Iterable[ObjectName]) -> None:
        """Return when the hub has told of every change of `objects` that is committed now.

        Raises:
            Unavailable, DeadlineExceeded

        """
        ids: list[str] = []
        for object_ in objects:
            request = UnpublishedRequest(object_)
            reply = await self._ask(tenant, "live_unpublished", request, UnpublishedReply)
            ids += reply.ids
        state = await self._hub.stream.state()
        if state.epoch != self._hub.position.epoch:
            raise Unavailable(what="the event stream")
        await self._hub.caught_up(state.last, ids)

    async def find(
        self,
        tenant: TenantId,
        object: ObjectName,
        fields: Iterable[str],
        field: str,
        values: Iterable[str],
    ) -> dict[str, Image]:
        """The records by id whose `field` has one of `values`.

        Raises:
            TooManyRecords: they are more than `MOST`.

        """
        found: dict[str, Image] = {}
        wanted = sorted(values)
        selected = tuple(
            (name,) for name in dict.fromkeys(["id", *fields]) if name not in _ALWAYS_NULL
        )
        for start in range(0, len(wanted), _IDS):
            where = Compare((field,), Op.IN, wanted[start : start + _IDS])
            query = Query(object=object, fields=selected, where=where, limit=MOST)
            page = await self._ask(tenant, "find", FindRequest(query), PageReply)
            for raw in _members(page.items):
                image = Image(bytes(raw))
                found[image.id] = image
            if page.has_next or len(found) > MOST:
                raise TooManyRecords(requested=len(found) + 1, max=MOST)
        return found

    async def _ask(
        self, tenant: TenantId, verb: str, request: msgspec.Struct, reply_type: type[T]
    ) -> T:
        context = Context(
            actor=system_actor(tenant),
            deadline_ms=self._clock.now_ms() + int(TIMEOUT_S * 1000),
            request_id=uuid7(),
            read_policy=ReadPolicy.PRIMARY,
        )
        return await self._kernel.call(verb, request, context, reply_type)


class _Commit(NamedTuple):
    place: Place
    cursor: str
    events: list[EventImages]


class Joining:
    """The row of one subscription, from `start` until `stop`."""

    def __init__(
        self,
        query: LiveQuery,
        reader: Reader,
        *,
        params: Callable[[], Sequence[Value]],
        learn: Callable[[Place, Sequence[Seen], str], None],
        lose: Callable[[str], None],
        clock: Clock,
    ) -> None:
        """`learn` is told what became of each commit; `lose` ends the subscription."""
        self._query = query
        self._joined = JoinedQuery(query)
        self._reader = reader
        self._params = params
        self._learn = learn
        self._lose = lose
        self._clock = clock
        self._row: list[_Commit] = []
        self._earlier: list[_Commit] = []
        self._held = 0
        self._filled = asyncio.Event()
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.targets = frozenset(join.target for join in self._joined.joins)
        """Objects whose records decide, too."""

    def take(self, place: Place, cursor: str, events: Sequence[EventImages]) -> None:
        """Settle a commit behind those that wait.

        Raises:
            TooMuchHeld: too much waits.

        """
        self._put(self._row, place, cursor, events)
        if self._row:
            self._filled.set()

    def take_earlier(self, place: Place, cursor: str, events: Sequence[EventImages]) -> None:
        """The same of a commit from before all that were taken; in order, and before `start`."""
        self._put(self._earlier, place, cursor, events)

    def _put(
        self, row: list[_Commit], place: Place, cursor: str, events: Sequence[EventImages]
    ) -> None:
        object_ = self._query.object
        kept = [e for e in events if e.event.object == object_ or self._joined.is_turned_by(e)]
        if not kept:
            return
        self._held += len(kept)
        if self._held > MAX_HELD:
            raise TooMuchHeld
        row.append(_Commit(place, cursor, kept))

    def start(self) -> None:
        """Settle what waits from now on."""
        self._row, self._earlier = self._earlier + self._row, []
        if self._row:
            self._filled.set()
        self._task = asyncio.ensure_future(self._run())

    def stop(self) -> None:
        """Settle nothing more."""
        if self._task is not None:
            self._task.cancel()
        self._row = []
        self._settled.set()

    async def settled(self) -> None:
        """Return when nothing waits."""
        while self._row:
            self._settled.clear()
            await self._settled.wait()

    async def _run(self) -> None:
        while True:
            await self._filled.wait()
            count = min(len(self._row), _BATCH)
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    told = await self._settle(count)
                batch, self._row = self._row[:count], self._row[count:]
                self._held -= sum(len(commit.events) for commit in batch)
                for commit, seen in zip(batch, told, strict=True):
                    if seen:
                        self._learn(commit.place, seen, commit.cursor)
            except TooManyRecords:
                self._lose("a change concerns too many records")
                return
            except TooMuchHeld:
                self._lose("too much happened meanwhile")
                return
            except MISFITS:
                self._lose("the form of its records has changed")
                return
            except (ObjectQLError, TimeoutError) as exc:
                if isinstance(exc, ObjectQLError) and not exc.retryable:
                    self._lose("nobody can tell what concerns it")
                    return
                await self._clock.sleep(_PAUSE_S)
            if not self._row:
                self._filled.clear()
                self._settled.set()

    async def _settle(self, count: int) -> list[list[Seen]]:
        """What the first `count` commits of the row mean."""
        read = await self._read_pointing(count)
        has_read = any(read.values())
        while True:
            if has_read:
                await self._reader.heard_all(self._query.tenant, read)
            timeline = Timeline([commit.events for commit in self._row])
            for object_, rows in read.items():
                timeline.read(object_, rows.items())
            has_read = await self._read_targets(count, timeline, read)
            if not has_read:
                break
        params = self._params()
        return [
            self._joined.seen(number, commit.events, timeline, params)
            for number, commit in enumerate(self._row[:count])
        ]

    async def _read_pointing(self, count: int) -> defaultdict[ObjectName, dict[str, Image | None]]:
        """The records that point to what the commits have changed."""
        read: defaultdict[ObjectName, dict[str, Image | None]] = defaultdict(dict)
        query, joined = self._query, self._joined
        events = chain.from_iterable(commit.events for commit in self._row[:count])
        fields = [*query.outputs, *joined.own_fields]
        for lookup, ids in joined.pointing(events).items():
            read[query.object] |= await self._reader.find(
                query.tenant, query.object, fields, lookup, ids
            )
        return read

    async def _read_targets(
        self,
        count: int,
        timeline: Timeline,
        read: defaultdict[ObjectName, dict[str, Image | None]],
    ) -> bool:
        """Read what the records pointed to and is not known yet; whether there was any."""
        query, joined = self._query, self._joined
        has_read = False
        images = timeline.states(query.object, count)
        for target, ids in joined.targets(images).items():
            missing = {id_ for id_ in ids if not timeline.knows((target, id_))}
            if missing:
                has_read = True
                fields = joined.fields_of(target)
                read[target] |= dict.fromkeys(missing) | await self._reader.find(
                    query.tenant, target, fields, "id", missing
                )
        return has_read
