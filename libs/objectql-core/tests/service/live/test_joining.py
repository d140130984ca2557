"""The row of commits that concern a subscription through lookups, while kernels answer and while they do not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from objectql.clock import SystemClock
from objectql.errors import NotSupported, TooManyRecords, Unavailable
from objectql.events import ChangeEvent
from objectql.ids import FieldName, ObjectName, TenantId
from objectql.live.commits import Place
from objectql.live.forms import form_of
from objectql.live.images import EventImages, Image
from objectql.live.query import LiveQuery
from objectql.live.telling import Seen
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.query.bound import Column, Hop, Param, ParamSource, Test, TestOp
from objectql.service.live.joining import Joining
from objectql.service.live.subscription import MAX_HELD, TooMuchHeld

TASK, FOLDER, TENANT = ObjectName("task"), ObjectName("folder"), TenantId("acme")
STATE = FieldDef(name=FieldName("state"), type="text")
BY_FOLDER = Hop(
    FieldDef(name=FieldName("folder"), type="lookup"), ObjectDef(name=FOLDER, fields={})
)
WHERE = Test(Column(STATE, (BY_FOLDER,)), TestOp.EQ, Param(0))
QUERY = LiveQuery(
    TENANT,
    TASK,
    form_of(WHERE),
    (ParamSource(STATE.storage, constant="open"),),
    (),
    ("id",),
)


class Records:
    """One task in the folder `f`; reading fails first as often as there are `errors`."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.reads = 0

    async def find(
        self, tenant: str, object: str, fields: Sequence[str], field: str, ids: set[str]
    ) -> dict[str, Image]:
        assert (tenant, object, field, ids) == (TENANT, TASK, "folder", {"f"})
        assert {"id", "folder"} <= set(fields)
        self.reads += 1
        if self.errors:
            raise self.errors.pop(0)
        return {"t": Image(b'{"id":"t","folder":"f"}')}

    async def heard_all(self, tenant: str, objects: Sequence[str]) -> None:
        assert (tenant, list(objects)) == (TENANT, [TASK])


class Row:
    """A row that reads from `records`, and what came of it."""

    def __init__(self, records: Records) -> None:
        self.told: list[tuple[str, str, bool, bool]] = []
        self.lost: list[str] = []
        self.ended = asyncio.Event()
        self.joining = Joining(
            QUERY,
            cast("Any", records),
            params=lambda: ("open",),
            learn=self.learn,
            lose=self.lose,
            clock=SystemClock(),
        )

    def learn(self, place: Place, seen: Sequence[Seen], cursor: str) -> None:
        assert place.at == int(cursor)
        self.told += [(cursor, s.images.event.record_id, s.was, s.now) for s in seen]

    def lose(self, reason: str) -> None:
        self.lost.append(reason)
        self.joining.stop()

    def take(self, number: int, before: str | None, after: str | None) -> None:
        """The folder `f` changes its state."""
        images = EventImages(
            ChangeEvent(
                *(f"e{number}", TENANT, FOLDER, "f", "updated", number, "", "ann"),
                before=json.dumps({"id": "f", "state": before}).encode(),
                after=json.dumps({"id": "f", "state": after}).encode(),
            )
        )
        self.joining.take(Place(number, number), str(number), [images])


async def settled(row: Row, during: Callable[[], None] = lambda: None) -> None:
    row.joining.start()
    during()
    async with asyncio.timeout(30):
        await row.joining.settled()
    row.joining.stop()


async def test_commits_that_wait_together_are_read_for_once_and_told_in_order() -> None:
    records = Records()
    row = Row(records)
    row.take(1, "open", "shut")
    row.take(2, "shut", "other")
    row.take(3, "other", "open")
    await settled(row)
    assert row.told == [("1", "t", True, False), ("3", "t", False, True)]
    assert records.reads == 1


async def test_what_cannot_be_read_now_is_read_later() -> None:
    row = Row(Records(Unavailable(what="the kernel"), Unavailable(what="the kernel")))
    row.take(1, "open", "shut")
    await settled(row, lambda: row.take(2, "shut", "open"))
    assert row.told == [("1", "t", True, False), ("2", "t", False, True)]
    assert row.lost == []


@pytest.mark.parametrize(
    "error", [TooManyRecords(requested=1001, max=1000), NotSupported(feature="it")]
)
async def test_what_cannot_be_told_ends_the_subscription(error: Exception) -> None:
    row = Row(Records(error))
    row.take(1, "open", "shut")
    await settled(row)
    assert len(row.lost) == 1
    assert row.told == []


def test_changes_that_nobody_looks_at_wait_for_nothing_and_no_more_than_so_many_wait() -> None:
    row = Row(Records())
    for number in range(2 * MAX_HELD):
        row.take(number, "open", "open")
    for number in range(MAX_HELD):
        row.take(number, "open", "shut")
    with pytest.raises(TooMuchHeld):
        row.take(MAX_HELD, "open", "shut")
