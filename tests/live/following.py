"""Subscribers that write down what they hear, come back after every break, and are judged at the end."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any, Final

import asyncpg  # noqa: TID251 - the truth is in the outbox
import httpx
from websockets.exceptions import InvalidHandshake, InvalidMessage, WebSocketException

from tests.clusters import body, eventually
from tests.live.sockets import FrameDict, Socket, open_socket
from tests.live.validator import Change, Fault, Heard, View, faults, record_of

AWAY = (OSError, TimeoutError, WebSocketException, InvalidHandshake, InvalidMessage, EOFError)
"""What a client meets while a gateway or the network is away."""

END: Final = "end-"

_LATER: Final = ("SERVICE_UNAVAILABLE", "DEADLINE_EXCEEDED")
"""Errors after which a subscriber comes again."""

_PAUSE_S: Final = 0.05


async def position(pg_url: str) -> int:
    """The position in the outbox behind which everything later is written."""
    connection = await asyncpg.connect(pg_url)
    try:
        found = await connection.fetch("SELECT last_value FROM oql_outbox_position_seq")
        return int(found[0][0])
    finally:
        await connection.close()


async def truth(pg_url: str, object_: str, tenant: str = "default") -> list[Change]:
    """All changes of an object that the outbox keeps."""
    connection = await asyncpg.connect(pg_url)
    try:
        rows = await connection.fetch(
            """SELECT position, record_id, kind, before, after, batch FROM oql_outbox
            WHERE object = $1 AND tenant = $2 ORDER BY position""",
            *(object_, tenant),
        )
    finally:
        await connection.close()
    return [
        Change(row[0], row[1], row[2], _image(row[3]), _image(row[4]), row[5] or "") for row in rows
    ]


def _image(text: str | None) -> dict[str, Any] | None:
    return None if text is None else json.loads(text)


class Follower:
    """One subscriber that goes on from its cursor after each break, and anew where it is told to.

    `chapters` is what it heard: one of them, and one more for each `resync`.
    """

    def __init__(
        self,
        urls: Sequence[str],
        token: str,
        object_: str,
        *,
        pg_url: str,
        seed: int = 0,
        **asked: Any,
    ) -> None:
        self.chapters: list[Heard] = []
        self.breaks = 0
        self.cursor: str | None = None
        self._urls = list(urls)
        self._token = token
        self._subscribe = {"type": "subscribe", "id": "s", "object": object_} | asked
        self._pg_url = pg_url
        self._rng = random.Random(seed)
        self._socket: Socket | None = None

    @property
    def resyncs(self) -> int:
        """How often it was told that it has missed something."""
        return len([chapter for chapter in self.chapters if chapter.is_cut])

    @property
    def heard(self) -> int:
        """How many frames."""
        return sum(len(chapter.frames) for chapter in self.chapters)

    @property
    def is_subscribed(self) -> bool:
        """Whether it is connected and listens."""
        return self._socket is not None

    def drop(self) -> None:
        """Break the socket off as a network does: nobody says goodbye."""
        if self._socket is not None:
            self.breaks += 1
            self._socket.connection.transport.abort()
            self._socket = None

    async def follow(self) -> None:
        """Follow until the last event, which `finish` makes."""
        while True:
            try:
                async with open_socket(self._rng.choice(self._urls), self._token) as socket:
                    if await self._follow(socket):
                        return
            except AWAY:
                pass
            self._socket = None
            await asyncio.sleep(_PAUSE_S)

    async def _follow(self, socket: Socket) -> bool:
        """Whether the last event came; otherwise the subscription has ended."""
        start = {"snapshot": True} if self.cursor is None else {"from": self.cursor}
        await socket.connection.send(json.dumps(self._subscribe | start))
        while True:
            told = await socket.hear()
            match told["type"]:
                case "subscribed":
                    if self.cursor is None:
                        behind = await position(self._pg_url)
                        self.chapters.append(Heard(behind, told["items"]))
                        self.cursor = told["cursor"]
                    self._socket = socket
                case "resync":
                    if self.cursor is not None:
                        self.chapters[-1].is_cut = True
                    self.cursor = None
                    return False
                case "error":
                    assert told["code"] in _LATER, told
                    return False
                case "closing":
                    return False
                case "created" | "updated" | "deleted" | "batch":
                    self.chapters[-1].frames.append(told)
                    self.cursor = told["cursor"]
                    if any(map(is_end, told.get("events", [told]))):
                        return True
                case other:
                    raise AssertionError(f"a frame of the type {other}")

    def faults(self, changes: Sequence[Change], view: View, now: list[Any]) -> list[Fault]:
        """What is wrong with everything that it heard."""
        last = len(self.chapters) - 1
        return [
            fault
            for number, chapter in enumerate(self.chapters)
            for fault in faults(chapter, changes, view, now=now if number == last else None)
        ]


async def finish(
    api: httpx.AsyncClient, following: Sequence[asyncio.Task[None]], topic: str
) -> None:
    """Write a last note of each owner in one commit, and return when all have heard of theirs."""
    operations = [
        {
            "object": "note",
            "action": "create",
            "data": {"id": f"{END}{topic}-{n}", "topic": topic} | own,
        }
        for n, own in enumerate(({"owner": "ann"}, {"owner": "bob"}))
    ]

    async def written() -> bool:
        headers = {"Idempotency-Key": f"{END}{topic}"}  # what was broken before may still be
        answer = await api.post(
            "/api/batch", content=body({"operations": operations}), headers=headers
        )
        return answer.status_code == 200

    await eventually(written, within_s=30, what="the last write")
    async with asyncio.timeout(60):
        await asyncio.gather(*following)


def is_end(event: FrameDict) -> bool:
    """Whether the event is about what `finish` writes."""
    return record_of(event).startswith(END)


async def ask_all(
    api: httpx.AsyncClient, object_: str, fields: Sequence[str], where: dict[str, Any]
) -> list[dict[str, Any]]:
    """What a fresh query answers, all pages of it."""
    found: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        asked = {"fields": list(fields), "where": where, "limit": 1000, "after": after}
        answer = await api.post(
            f"/api/{object_}/query",
            content=body({key: value for key, value in asked.items() if value is not None}),
            headers={"Oql-Read-Policy": "primary"},
        )
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["items"]
        after = page["meta"].get("next")
        if after is None:
            return found


def view(topic: str, user: str) -> View:
    """What `user` hears of a topic, as the permissions of the tests say; `admin` sees all notes."""
    return View(
        sees=lambda note: note["topic"] == topic and user in {"admin", note.get("owner")},
        shows=lambda note: {key: note[key] for key in ("id", "name", "version")},
    )
