"""Clients that move money and look at it while faults are made, and write down all that they see."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
from examples.bank.load import ACCOUNTS, SIDES

from tests.bank.bed import balances, object_of
from tests.histories.history import Recorder

_REQUEST_S = 12.0
"""Until a client gives an answer up; the cluster's own deadline is 10 s."""

_PAUSE_S = 0.1

_ACCOUNTS = range(100, 140)
"""Of either side: few, so that transfers meet; others are left to other tests."""
_IN_DOUBT = 202


class Move(msgspec.Struct, frozen=True):
    """What a transfer asks for."""

    id: str
    source: str
    target: str
    amount: int


class Seen(msgspec.Struct, frozen=True):
    """One account as an answer told it."""

    account: str
    balance: int
    version: int


class Workload:
    """`workers` clients, until `stop`; each transfer is repeated with its key until it has an answer.

    `across` moves money between the databases too, and then a side alone no longer keeps its sum.
    """

    def __init__(
        self,
        make_client: Callable[[], httpx.AsyncClient],
        recorder: Recorder,
        *,
        workers: int,
        seed: int,
        across: bool,
    ) -> None:
        self._make_client = make_client
        self._recorder = recorder
        self._workers = workers
        self._seed = seed
        self._across = across
        self._numbers = itertools.count()
        self._is_over = asyncio.Event()
        self._give_up = asyncio.Event()
        self.moved = asyncio.Event()
        """Set at each transfer that happened."""
        self.slowest_s = 0.0
        """The longest that any request has taken to end."""

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
            http.timeout = httpx.Timeout(_REQUEST_S)
            while not self._is_over.is_set():
                chosen = rng.random()
                if chosen < 0.8:
                    await self._transfer(http, process, rng)
                elif chosen < 0.95:
                    await self._look(http, process, f"{rng.choice('ew')}{rng.randrange(ACCOUNTS)}")
                else:
                    await self._look_at_all(http, process, rng.choice(sorted(SIDES)))

    async def _transfer(self, http: httpx.AsyncClient, process: str, rng: random.Random) -> None:
        sides = rng.choices("ew", k=2) if self._across else [rng.choice("ew")] * 2
        source, target = (
            f"{side}{n}" for side, n in zip(sides, rng.sample(_ACCOUNTS, 2), strict=True)
        )
        move = Move(f"{self._seed}-{next(self._numbers)}", source, target, rng.randint(1, 5))
        operation = self._recorder.invoke(process, "transfer", move)
        answer = await self._until_answered(http, move)
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

    async def _until_answered(self, http: httpx.AsyncClient, move: Move) -> httpx.Response | None:
        """The answer that says whether it happened; None where there was none until the end."""
        while not self._give_up.is_set():
            try:
                answer = await self._request(http, "POST", "/api/batch", move)
            except httpx.HTTPError:
                pass
            else:
                if answer.status_code != _IN_DOUBT and answer.status_code < 500:
                    return answer
            await asyncio.sleep(_PAUSE_S)
        return None

    async def _request(
        self, http: httpx.AsyncClient, method: str, path: str, move: Move | None = None
    ) -> httpx.Response:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        headers = {} if move is None else {"Idempotency-Key": move.id}
        try:
            return await http.request(
                method, path, headers=headers, json=None if move is None else batch_of(move)
            )
        finally:
            self.slowest_s = max(self.slowest_s, loop.time() - began_s)

    async def _look(self, http: httpx.AsyncClient, process: str, account: str) -> None:
        operation = self._recorder.invoke(process, "look", account)
        try:
            answer = await self._request(http, "GET", f"/api/{object_of(account)}/{account}")
            record = answer.raise_for_status().json()
        except httpx.HTTPError:
            self._recorder.end(process, operation, "fail", "look")
            await asyncio.sleep(_PAUSE_S)
        else:
            seen = [Seen(account, record["balance"], record["version"])]
            self._recorder.end(process, operation, "ok", "look", seen)

    async def _look_at_all(self, http: httpx.AsyncClient, process: str, object_: str) -> None:
        operation = self._recorder.invoke(process, "look_at_all", object_)
        try:
            found = await balances(http, object_)
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
