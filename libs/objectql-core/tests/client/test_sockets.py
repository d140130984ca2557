"""How live queries outlive their sockets, against a gateway that does what each test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest
from websockets.asyncio.server import ServerConnection, serve

from objectql.client import live as live_module
from objectql.client.backoff import Patience
from objectql.client.changes import Change, Commit, Missed, Snapshot, Told
from objectql.client.credentials import Credentials, FetchedToken, StaticToken
from objectql.client.live import Live
from objectql.client.sockets import LiveConnection
from objectql.errors import Overloaded, QuotaExceeded, RemoteError, Unauthenticated

Frame: TypeAlias = dict[str, Any]


class Peer:
    """One socket of a client, as the gateway sees it."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.token = connection.request.headers["Authorization"] if connection.request else ""

    async def hear(self) -> Frame:
        return json.loads(await self.connection.recv())

    async def say(self, **frame: Any) -> None:
        await self.connection.send(json.dumps(frame))

    async def subscribed(self, cursor: str, **more: Any) -> Frame:
        """Hear a subscription and confirm it."""
        asked = await self.hear()
        assert asked["type"] == "subscribe", asked
        await self.say(type="subscribed", sub=asked["id"], cursor=cursor, **more)
        return asked

    async def created(self, sub: str, id: str, cursor: str) -> None:
        await self.say(type="created", object="note", sub=sub, cursor=cursor, data={"id": id})


Script: TypeAlias = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def gateway(
    *scripts: Script, credentials: Credentials | None = None
) -> AsyncGenerator[LiveConnection]:
    """A connection to a gateway that plays a script for each socket, the last one again and again."""
    left, failures = list(scripts), list[AssertionError]()

    async def play(connection: ServerConnection) -> None:
        try:
            await (left.pop(0) if len(left) > 1 else left[0])(Peer(connection))
        except AssertionError as exc:
            failures.append(exc)

    async def no_post(path: str, body: Frame) -> Frame:
        raise AssertionError(path)

    async with serve(play, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        connection = LiveConnection(
            f"ws://127.0.0.1:{port}/ws",
            credentials or StaticToken("t"),
            no_post,
            patience=Patience(first_s=0.001, most_s=0.01),
        )
        try:
            yield connection
        finally:
            await connection.close()
    assert failures == []


def notes(connection: LiveConnection, *, snapshot: bool = False, since: str | None = None) -> Live:
    return Live(connection, {"object": "note"}, snapshot=snapshot, since=since)


async def first(live: Live, count: int) -> list[Told]:
    found: list[Told] = []
    async with asyncio.timeout(20):
        async for told in live:
            found.append(told)
            if len(found) == count:
                break
    return found


def made(id: str, cursor: str) -> Change:
    return Change("created", "note", id, cursor, {"id": id})


async def test_a_broken_socket_is_made_again_and_told_on_behind_the_last_cursor() -> None:
    asked: list[Frame] = []

    async def one(peer: Peer) -> None:
        await peer.say(type="ready")
        asked.append(await peer.subscribed("c0", items=[{"id": "a"}]))
        await peer.created(asked[-1]["id"], "b", "c1")
        await peer.connection.close(1012)

    async def two(peer: Peer) -> None:
        await peer.say(type="ready")
        asked.append(await peer.subscribed("c1"))
        sub = asked[-1]["id"]
        gone = {"type": "deleted", "object": "note", "id": "a", "sub": sub, "cursor": "c2"}
        new = {"type": "created", "object": "note", "data": {"id": "d"}, "sub": sub, "cursor": "c2"}
        await peer.say(type="batch", events=[gone, new], sub=sub, cursor="c2")
        await peer.connection.wait_closed()

    async with gateway(one, two) as connection:
        live = notes(connection, snapshot=True)
        told = await first(live, 3)
    together = (Change("deleted", "note", "a", "c2"), made("d", "c2"))
    assert told == [Snapshot(({"id": "a"},), "c0"), made("b", "c1"), Commit(together, "c2")]
    assert [frame.get("from") for frame in asked] == [None, "c1"]
    assert [frame.get("snapshot") for frame in asked] == [True, None]
    assert live.cursor == "c2"


async def test_what_waits_to_be_taken_is_not_told_again() -> None:
    is_again = asyncio.Event()

    async def one(peer: Peer) -> None:
        await peer.say(type="ready")
        asked = await peer.subscribed("c0")
        await peer.created(asked["id"], "a", "c1")
        await peer.created(asked["id"], "b", "c2")
        await peer.connection.close(1012)

    async def two(peer: Peer) -> None:
        await peer.say(type="ready")
        asked = await peer.subscribed("c2")
        assert asked["from"] == "c2"
        await peer.created(asked["id"], "c", "c3")
        is_again.set()
        await peer.connection.wait_closed()

    async with gateway(one, two) as connection, notes(connection) as live:
        async with asyncio.timeout(20):
            await is_again.wait()
        assert await first(live, 3) == [made("a", "c1"), made("b", "c2"), made("c", "c3")]


@pytest.mark.parametrize("snapshot", [True, False])
async def test_what_was_missed_is_told_as_missed_and_with_the_records_of_now(
    snapshot: bool,
) -> None:
    async def play(peer: Peer) -> None:
        await peer.say(type="ready")
        asked = await peer.hear()
        assert asked["from"] == "old"
        await peer.say(type="resync", sub=asked["id"], reason="too old")
        more = {"items": [{"id": "a"}]} if snapshot else {}
        again = await peer.subscribed("c5", **more)
        assert "from" not in again
        await peer.connection.wait_closed()

    async with gateway(play) as connection:
        told = await first(notes(connection, snapshot=snapshot, since="old"), 1)
    items = ({"id": "a"},)
    assert told == [Snapshot(items, "c5", "too old") if snapshot else Missed("too old", "c5")]


async def test_several_live_queries_share_a_socket_and_hear_only_their_own() -> None:
    sockets = 0

    async def play(peer: Peer) -> None:
        nonlocal sockets
        sockets += 1
        await peer.say(type="ready")
        subs = [(await peer.subscribed("c0"))["id"] for _ in range(2)]
        await peer.created("of nobody", "x", "c1")
        await peer.created(subs[1], "b", "c1")
        await peer.created(subs[0], "a", "c2")
        assert await peer.hear() == {"type": "unsubscribe", "sub": subs[0]}
        await peer.connection.wait_closed()

    async with gateway(play) as connection, notes(connection) as one, notes(connection) as two:
        assert await first(one, 1) == [made("a", "c2")]
        assert await first(two, 1) == [made("b", "c1")]
    assert sockets == 1


async def test_who_takes_slowly_is_told_on_later_and_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_module, "WAITING", 3)

    async def play(peer: Peer) -> None:
        await peer.say(type="ready")
        slow = (await peer.subscribed("c0"))["id"]
        quick = (await peer.subscribed("c0"))["id"]
        for number in range(1, 6):  # two more than may wait
            await peer.created(slow, f"n{number}", f"c{number}")
        assert await peer.hear() == {"type": "unsubscribe", "sub": slow}
        await peer.created(quick, "q", "c5")
        again = await peer.subscribed("c3")
        assert again["from"] == "c3"
        for number in range(4, 6):
            await peer.created(again["id"], f"n{number}", f"c{number}")
        await peer.connection.wait_closed()

    async with gateway(play) as connection, notes(connection) as slow, notes(connection) as quick:
        assert await first(quick, 1) == [made("q", "c5")]
        assert await first(slow, 5) == [made(f"n{n}", f"c{n}") for n in range(1, 6)]


async def test_a_refusal_ends_one_live_query_and_what_may_pass_is_asked_again() -> None:
    async def play(peer: Peer) -> None:
        await peer.say(type="ready")
        bad, good = (await peer.hear())["id"], (await peer.hear())["id"]
        await peer.say(type="error", code="INVALID_QUERY", message="no such field", sub=bad)
        await peer.say(type="error", code="OVERLOADED", message="later", sub=good)
        again = await peer.subscribed("c0")
        await peer.created(again["id"], "a", "c1")
        await peer.connection.wait_closed()

    async with gateway(play) as connection:
        bad, good = notes(connection), notes(connection)
        told = asyncio.ensure_future(first(bad, 1))
        await asyncio.sleep(0)
        assert await first(good, 1) == [made("a", "c1")]
        with pytest.raises(RemoteError, match="no such field"):
            await told


async def test_an_expired_token_is_replaced_and_a_refused_one_ends_all() -> None:
    numbers = iter(range(100))

    async def fetch() -> str:
        return f"t{next(numbers)}"

    async def play(peer: Peer) -> None:
        if peer.token == "Bearer t0":
            await peer.say(type="ready")
            await peer.subscribed("c0")
            await peer.connection.close(4401, "expired")
        elif peer.token == "Bearer t1":
            await peer.say(type="ready")
            asked = await peer.subscribed("c0")
            assert asked["from"] == "c0"
            await peer.created(asked["id"], "a", "c1")
            await peer.connection.close(4401, "expired")
        else:
            await peer.say(type="error", code="UNAUTHENTICATED", message="no")
            await peer.connection.close(4401, "unauthenticated")

    async with gateway(play, credentials=FetchedToken(fetch)) as connection:
        async with notes(connection) as live:
            assert await first(live, 1) == [made("a", "c1")]
            with pytest.raises(Unauthenticated):
                await first(live, 1)
        with pytest.raises(Unauthenticated):
            await first(notes(connection), 1)
    assert next(numbers) <= 6


async def test_what_is_told_instead_of_a_welcome_ends_all_unless_it_may_pass() -> None:
    refusals = iter([Overloaded(), QuotaExceeded(quota="sockets", limit=1)])

    async def play(peer: Peer) -> None:
        error = next(refusals)
        await peer.say(type="error", code=error.code, message="no", details=error.details())
        await peer.connection.close(4429)

    async with gateway(play) as connection:
        with pytest.raises(QuotaExceeded):
            await first(notes(connection), 1)


async def test_a_gateway_that_closes_is_come_back_to_when_it_says() -> None:
    times: list[float] = []

    async def play(peer: Peer) -> None:
        times.append(asyncio.get_running_loop().time())
        await peer.say(type="ready")
        asked = await peer.subscribed("c0")
        if len(times) == 1:
            await peer.say(type="closing", reason="restart", reconnect_after_ms=300)
            await peer.connection.close(1012)
        else:
            await peer.created(asked["id"], "a", "c1")
            await peer.connection.wait_closed()

    async with gateway(play) as connection:
        await first(notes(connection), 1)
    assert times[1] - times[0] >= 0.3


async def test_who_waits_when_the_client_closes_is_told_so() -> None:
    async def play(peer: Peer) -> None:
        await peer.say(type="ready")
        await peer.subscribed("c0")
        await peer.connection.wait_closed()

    async with gateway(play) as connection, notes(connection) as live:
        waiting = asyncio.ensure_future(first(live, 1))
        await asyncio.sleep(0)
        await connection.close()
        with pytest.raises(RuntimeError, match="closed"):
            await waiting
        with pytest.raises(RuntimeError, match="closed"):
            await first(notes(connection), 1)
