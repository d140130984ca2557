"""`objectql.client` against a whole cluster whose gateways die under it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator

import jwt
import pytest

from objectql.client import Change, Client, Commit, Patience, Snapshot, Told, apply, operations
from objectql.errors import FieldUnknown, ObjectUnknown, RecordNotFound, VersionConflict
from objectql.service.settings import AuthSettings
from objectql_devstack.cluster import Cluster

pytestmark = pytest.mark.servers


def client_of(cluster: Cluster, token: str | None = None) -> Client:
    env = cluster.env
    return Client(
        env["OQL_REST_URL"],
        token or env["OQL_ADMIN_TOKEN"],
        live_url=env["OQL_WS_URL"],
        patience=Patience(first_s=0.05, most_s=0.5),
    )


@pytest.fixture
async def client(cluster: Cluster) -> AsyncGenerator[Client]:
    async with client_of(cluster) as made:
        yield made


def changes(told: Told) -> tuple[Change, ...]:
    match told:
        case Change():
            return (told,)
        case Commit(changes):
            return changes
        case _:
            return ()


def names_of(told: Told) -> list[str | None]:
    return [change.data["name"] if change.data else None for change in changes(told)]


async def test_records_are_written_read_and_refused_as_over_http(client: Client) -> None:
    made = await client.create("note", {"name": "a/b", "topic": "rest"})
    id = made["id"]
    assert await client.get("note", id, fields=["name"]) == {"id": id, "name": "a/b"}
    changed = await client.update("note", id, {"name": "c"}, if_version=made["version"])
    with pytest.raises(VersionConflict) as caught:
        await client.replace("note", id, {"name": "d"}, if_version=made["version"])
    assert caught.value.current_version == changed["version"]
    with pytest.raises(FieldUnknown):
        await client.find("note", {"nam": "c"})
    done = await client.batch(
        [
            operations.create("note", {"name": "parent", "topic": "rest"}),
            operations.create(
                "note", {"name": "child", "topic": "rest", "parent": operations.ref(0)}
            ),
            operations.delete("note", id),
        ]
    )
    assert done.transaction is not None
    assert done.transaction.state == "committed"
    assert done.results[1]["parent"] == done.results[0]["id"]
    found = await client.find(
        "note", {"topic": "rest"}, order_by="name", fields=["name"], count=True
    )
    assert ([each["name"] for each in found.items], found.total) == (["child", "parent"], 2)
    document = {"where": {"topic": "rest"}, "orderBy": "-name", "limit": 1}
    assert [each["name"] async for each in client.query_all("note", document)] == [
        "parent",
        "child",
    ]
    groups = {"where": {"topic": "rest"}, "aggregations": [{"function": "count", "alias": "n"}]}
    assert await client.aggregate("note", groups) == [{"n": 2}]
    with pytest.raises(RecordNotFound):
        await client.get("note", id)


async def test_nothing_is_lost_or_doubled_while_both_gateways_die(
    cluster: Cluster, client: Client
) -> None:
    """40 creations and the live query that tells them, with the gateways killed in the middle."""
    heard: list[Told] = []
    records: dict[str, object] = {}
    names = [f"n{number}" for number in range(40)]
    is_all_heard = asyncio.Event()

    async def listen() -> None:
        async for told in client.live("note", {"topic": "kill"}, fields=["name"], snapshot=True):
            heard.append(told)
            if sum(len(changes(each)) for each in heard) >= len(names):
                is_all_heard.set()

    async def write(some: list[str]) -> None:
        for name in some:
            made = await client.create("note", {"name": name, "topic": "kill"})
            records[made["id"]] = {"id": made["id"], "name": name}

    listening = asyncio.ensure_future(listen())
    while not heard:
        await asyncio.sleep(0.01)
    writing = [asyncio.ensure_future(write(names[n::4])) for n in range(4)]
    for name in ("gateway-ws-1", "gateway-rest-1"):
        while len(records) < 10:
            await asyncio.sleep(0.01)
        cluster.kill(name)
        await asyncio.to_thread(cluster.restart, name)
    await asyncio.gather(*writing)
    async with asyncio.timeout(60):
        await is_all_heard.wait()
    listening.cancel()
    await asyncio.wait({listening})
    told_names = Counter(name for told in heard for name in names_of(told))
    assert told_names == Counter(names)
    state: dict[str, dict[str, object]] = {}
    for told in heard:
        apply(told, state)
    assert state == records
    assert [type(told) for told in heard].count(Snapshot) == 1


async def test_a_live_query_goes_on_in_another_client_behind_its_cursor(
    cluster: Cluster, client: Client
) -> None:
    async with client.live("note", {"topic": "moved"}, fields=["name"]) as live:
        await client.create("note", {"name": "one", "topic": "moved"})
        assert names_of(await anext(live.__aiter__())) == ["one"]
    await client.create("note", {"name": "two", "topic": "moved"})
    async with client_of(cluster) as other:
        resumed = other.live("note", {"topic": "moved"}, fields=["name"], since=live.cursor)
        async for told in resumed:
            assert names_of(told) == ["two"]
            break


async def test_a_live_query_survives_the_end_of_its_token(cluster: Cluster, client: Client) -> None:
    fetched = 0

    async def fetch() -> str:
        nonlocal fetched
        fetched += 1
        ends = time.time() - AuthSettings().leeway_s + 2  # it is accepted for that much longer
        claims = {"sub": "u1", "tenant": "default", "roles": ["admin"], "exp": int(ends)}
        return jwt.encode(claims, cluster.env["OQL_JWT_SECRET"], algorithm="HS256")

    brief = Client(cluster.env["OQL_REST_URL"], fetch, live_url=cluster.env["OQL_WS_URL"])
    async with brief, brief.live("note", {"topic": "brief"}, fields=["name"]) as live:
        while fetched < 2:
            await asyncio.sleep(0.05)
        await client.create("note", {"name": "after", "topic": "brief"})
        async with asyncio.timeout(30):
            assert names_of(await anext(live.__aiter__())) == ["after"]


async def test_states_follow_every_commit(client: Client) -> None:
    seen: list[list[str]] = []
    states = client.live("note", {"topic": "states"}, fields=["name"], snapshot=True).states()
    async with asyncio.timeout(30):
        async for state in states:
            seen.append([each["name"] for each in state])
            if not state:
                await client.create("note", {"id": "st1", "name": "x", "topic": "states"})
            elif seen[-1] == ["x"]:
                await client.update("note", "st1", {"name": "y"})
            else:
                break
    await states.aclose()
    assert seen == [[], ["x"], ["y"]]


async def test_what_is_wrong_with_a_live_query_is_raised_as_over_http(client: Client) -> None:
    with pytest.raises(FieldUnknown) as caught:
        async with client.live("note", {"nam": "x"}):
            raise AssertionError
    assert (caught.value.object, caught.value.field) == ("note", "nam")
    with pytest.raises(ObjectUnknown):
        await anext(client.live("notes").__aiter__())
