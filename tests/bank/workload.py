"""Clients that move money and look at it while faults are made, and write down all that they see."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
from examples.bank.load import ACCOUNTS, SIDES

from tests.bank.bed import balances, object_of
from tests.histories.history import Recorder

_DEADLINES_MS = (1_000, 3_000, 10_000)
"""What clients give the cluster to answer in."""
_GIVEN_UP_AFTER_S = 5.0
"""So long after its deadline a client waits no more."""

_PAUSE_S = 0.1

_ACROSS = range(100, 140)
"""The accounts of either side of which money goes to the other: few, so that transfers meet."""
LOCAL = range(140, 160)
"""Those of which it stays on its side, where reads have isolation; others are left to other tests."""
_ACROSS_SHARE = 0.9
_IN_DOUBT = 202


class Move(msgspec.Struct, frozen=True):
    """What a transfer asks for."""

    id: str
    source: str
    target: str
    amount: int

    @property
    def is_across(self) -> bool:
        """Whether it is between two databases."""
        return object_of(self.source) != object_of(self.target)


class Seen(msgspec.Struct, frozen=True):
    """One account as an answer told it."""

    account: str
    balance: int
    version: int


class Workload:
    """`workers` clients, until `stop`; each transfer is repeated with its key until it has an answer."""

    def __init__(
        self,
        make_client: Callable[[], httpx.AsyncClient],
        recorder: Recorder,
        *,
        workers: int,
        seed: int,
    ) -> None:
        self._make_client = make_client
        self._recorder = recorder
        self._workers = workers
        self._seed = seed
        self._numbers = itertools.count()
        self._is_over = asyncio.Event()
        self._give_up = asyncio.Event()
        self.moved = asyncio.Event()
        """Set at each transfer that happened."""
        self.latest_s = 0.0
        """The longest that any request has taken to end after its deadline."""

    def stop(self) -> None:
        """Begin nothing more; what is under way goes on until it has an answer."""
        self._is_over.set()

    def give_up(self) -> None:
        """Let those go that still have no answer: nobody knows of them."""
        self._give_up.set()

    async def run(self) -> None:
        """Work until all workers have stopped."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(
                    self._work(f"worker-{number}", random.Random(self._seed + number))
                )

    async def _work(self, process: str, rng: random.Random) -> None:
        async with self._make_client() as http:
            http.timeout = httpx.Timeout(max(_DEADLINES_MS) / 1000 + _GIVEN_UP_AFTER_S)
            while not self._is_over.is_set():
                chosen = rng.random()
                if chosen < 0.8:
                    await self._transfer(http, process, rng)
                elif chosen < 0.95:
                    account = f"{rng.choice('ew')}{rng.randrange(ACCOUNTS)}"
                    await self._look(http, process, account, rng)
                else:
                    await self._look_at_all(http, process, rng.choice(sorted(SIDES)), rng)

    async def _transfer(self, http: httpx.AsyncClient, process: str, rng: random.Random) -> None:
        is_across = rng.random() < _ACROSS_SHARE
        sides = rng.sample("ew", 2) if is_across else [rng.choice("ew")] * 2
        numbers = rng.sample(_ACROSS if is_across else LOCAL, 2)
        source, target = (f"{side}{n}" for side, n in zip(sides, numbers, strict=True))
        move = Move(f"{self._seed}-{next(self._numbers)}", source, target, rng.randint(1, 5))
        operation = self._recorder.invoke(process, "transfer", move)
        answer = await self._until_answered(http, move, rng)
        if answer is None:
            self._recorder.end(process, operation, "info", "transfer")
        elif answer.status_code == 200:
            seen = [
                Seen(record["id"], record["balance"], record["version"])
                for record in answer.json()["results"]
            ]
            self._recorder.end(process, operation, "ok", "transfer", seen)
            self.moved.set()
        else:
            code = answer.json().get("code", answer.status_code)
            self._recorder.end(process, operation, "fail", "transfer", code)

    async def _until_answered(
        self, http: httpx.AsyncClient, move: Move, rng: random.Random
    ) -> httpx.Response | None:
        """The answer that says whether it happened; None where there was none until the end."""
        while not self._give_up.is_set():
            try:
                async with self._limited(rng) as headers:
                    answer = await http.post(
                        "/api/batch",
                        json=batch_of(move),
                        headers=headers | {"Idempotency-Key": move.id},
                    )
            except httpx.HTTPError:
                pass
            else:
                if answer.status_code != _IN_DOUBT and answer.status_code < 500:
                    return answer
            await asyncio.sleep(_PAUSE_S)
        return None

    @asynccontextmanager
    async def _limited(self, rng: random.Random) -> AsyncGenerator[dict[str, str]]:
        """The headers of a request that has some deadline, by which it is judged when it ends."""
        loop = asyncio.get_running_loop()
        deadline_ms = rng.choice(_DEADLINES_MS)
        due_s = loop.time() + deadline_ms / 1000
        try:
            yield {"X-Timeout-Ms": str(deadline_ms)}
        finally:
            self.latest_s = max(self.latest_s, loop.time() - due_s)

    async def _look(
        self, http: httpx.AsyncClient, process: str, account: str, rng: random.Random
    ) -> None:
        operation = self._recorder.invoke(process, "look", account)
        try:
            async with self._limited(rng) as headers:
                answer = await http.get(f"/api/{object_of(account)}/{account}", headers=headers)
            record = answer.raise_for_status().json()
        except httpx.HTTPError:
            self._recorder.end(process, operation, "fail", "look")
            await asyncio.sleep(_PAUSE_S)
        else:
            seen = [Seen(account, record["balance"], record["version"])]
            self._recorder.end(process, operation, "ok", "look", seen)

    async def _look_at_all(
        self, http: httpx.AsyncClient, process: str, object_: str, rng: random.Random
    ) -> None:
        operation = self._recorder.invoke(process, "look_at_all", object_)
        try:
            async with self._limited(rng) as headers:
                found = await balances(http, object_, headers)
        except httpx.HTTPError:
            self._recorder.end(process, operation, "fail", "look_at_all")
            await asyncio.sleep(_PAUSE_S)
        else:
            seen = [
                Seen(account, balance, version) for account, (balance, version) in found.items()
            ]
            self._recorder.end(process, operation, "ok", "look_at_all", seen)


def batch_of(move: Move) -> dict[str, Any]:
    """The body of the request."""
    return {
        "atomic": True,
        "operations": [
            {
                "object": object_of(account),
                "action": "update",
                "id": account,
                "data": {"balance": {"$inc": amount}},
            }
            for account, amount in ((move.source, -move.amount), (move.target, move.amount))
        ],
    }
