"""Writes of every kind to notes of one topic, of which there are never many at a time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import httpx

from tests.clusters import body

_MANY = 60
"""Notes that one writer has at a time at most, so that a snapshot of all is short."""


class Writer:
    """Single writes and batches; creations, updates, deletions; notes that come into the topic and
    leave it, and that change hands between `owners`.
    """

    def __init__(
        self,
        api: httpx.AsyncClient,
        topic: str,
        *,
        seed: int,
        owners: tuple[str, ...] = ("ann", "bob"),
        tolerant: bool = False,
        many: int = _MANY,
    ) -> None:
        """It has at most `many` notes at a time. A `tolerant` one goes on when a write fails: what happened is in the outbox."""
        self._api = api
        self._topic = topic
        self._rng = random.Random(seed)
        self._owners = owners
        self._tolerant = tolerant
        self._many = many
        self._known: list[str] = []
        self._prefix = f"{topic}-{seed}-"
        self.count = 0

    async def write(self, count: int) -> None:
        """Write `count` times, one after the other."""
        for _ in range(count):
            await self._write()

    async def until(self, is_over: Callable[[], bool], *, per_s: float) -> None:
        """Write at most so often until it is over."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not is_over():
            await self._write()
            due = max(due + 1 / per_s, loop.time() - 1)
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _write(self) -> None:
        try:
            answer = await self._once()
        except httpx.HTTPError:
            if not self._tolerant:
                raise
            return
        assert self._tolerant or answer.status_code < 300, answer.text
        if answer.status_code == 404:  # what was forgotten of, when its answer was lost
            self._known.clear()

    async def _once(self) -> httpx.Response:
        rng, api, known = self._rng, self._api, self._known
        kind = rng.random()
        self.count += 1
        if len(known) < 3 or (kind < 0.3 and len(known) < self._many):
            answer = await api.post("/api/note", content=body(self._new()))
            if answer.status_code == 201:
                known.append(answer.json()["id"])
            return answer
        if kind < 0.45:
            return await api.delete(f"/api/note/{known.pop(rng.randrange(len(known)))}")
        if kind < 0.6:
            changed = [
                {"object": "note", "action": "update", "id": id_, "data": self._change()}
                for id_ in rng.sample(known, 2)
            ]
            made = {"object": "note", "action": "create", "data": self._new()}
            operations = [made, *changed] if len(known) < self._many else changed
            answer = await api.post("/api/batch", content=body({"operations": operations}))
            if answer.status_code == 200 and len(operations) == 3:
                known.append(f"{self._prefix}{self.count}")
            return answer
        where = f"/api/note/{rng.choice(known)}"
        return await api.patch(where, content=body(self._change()))

    def _new(self) -> dict[str, Any]:
        return {"id": f"{self._prefix}{self.count}", "topic": self._topic} | self._change()

    def _change(self) -> dict[str, Any]:
        rng = self._rng
        change = {"name": f"n{self.count}", "owner": rng.choice(self._owners)}
        if rng.random() < 0.2:
            change["topic"] = rng.choice((self._topic, f"not {self._topic}"))
        return change
