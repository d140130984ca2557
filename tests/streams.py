"""Reading the event stream as a consumer would."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import asyncpg  # noqa: TID251 - the test looks into the outbox
import nats  # noqa: TID251 - the test is a consumer of its own
from nats.js.api import DeliverPolicy  # noqa: TID251

from objectql.events import ChangeEvent
from objectql.wire.codec import decode
from objectql.wire.messages import Heartbeat
from objectql.wire.subjects import DATA_STREAM, DATA_SUBJECTS, heartbeat


async def all_events(nats_url: str) -> list[ChangeEvent]:
    """Every change event that the stream holds now, in its order."""
    connection = await nats.connect(nats_url)
    try:
        jetstream = connection.jetstream()
        held = (await jetstream.stream_info(DATA_STREAM)).state.messages
        subscription = await jetstream.subscribe(
            DATA_SUBJECTS, ordered_consumer=True, deliver_policy=DeliverPolicy.ALL
        )
        events = [
            decode(ChangeEvent, (await subscription.next_msg(timeout=5)).data) for _ in range(held)
        ]
        await subscription.unsubscribe()
        return events
    finally:
        await connection.close()


async def unpublished(pg_url: str) -> int:
    """How many events wait in the outbox."""
    connection = await asyncpg.connect(pg_url)
    try:
        rows = await connection.fetch("SELECT count(*) FROM oql_outbox WHERE published_at IS NULL")
        return int(rows[0][0])
    finally:
        await connection.close()


async def kernels_with_metadata(nats_url: str, version: int, *, count: int) -> set[str]:
    """The first `count` kernels whose heartbeats tell of metadata of `version` or newer."""
    found: set[str] = set()
    connection = await nats.connect(nats_url)
    try:
        subscription = await connection.subscribe(heartbeat("kernel", "*"))
        while len(found) < count:
            beat = decode(Heartbeat, (await subscription.next_msg(timeout=5)).data)
            if beat.metadata_version >= version:
                found.add(beat.instance)
    finally:
        await connection.close()
    return found
