"""Live queries whose filters and rules look at the records that lookups point to."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import httpx
import pytest

from objectql_devstack.cluster import Cluster
from tests.clusters import body, token_of
from tests.live.following import END, Follower, ask_all, truth
from tests.live.sockets import Socket, open_socket, socket_urls
from tests.live.validator import Change, Record, View

pytestmark = pytest.mark.servers

OPEN = {"folder.open": True, "state": {"$ne": "done"}}


async def write(api: httpx.AsyncClient, *operations: tuple[str, str, str, dict[str, Any]]) -> None:
    """Do all in one commit: the action, the object, the id, the fields."""
    steps = [
        {"action": action, "object": object_, "id": id_, "data": data}
        if action != "create"
        else {"action": action, "object": object_, "data": {"id": id_} | data}
        for action, object_, id_, data in operations
    ]
    answer = await api.post("/api/batch", content=body({"operations": steps}))
    assert answer.status_code == 200, answer.text


async def test_a_change_elsewhere_lets_records_in_and_out(
    api: httpx.AsyncClient, socket: Socket
) -> None:
    await write(api, ("create", "folder", "plain", {"open": False}))
    told = await socket.subscribe("task", where=OPEN, fields=["name"], snapshot=True)
    assert told["items"] == []
    for n in range(2):
        await write(api, ("create", "task", f"p{n}", {"name": f"n{n}", "folder": "plain"}))
    await write(api, ("update", "folder", "plain", {"open": True}))
    entered = await socket.hear()
    assert entered["type"] == "batch"
    assert [(e["type"], e["match"], e["data"]["name"]) for e in entered["events"]] == [
        ("updated", "entered", "n0"),
        ("updated", "entered", "n1"),
    ]
    await write(api, ("update", "folder", "plain", {"name": "nobody asks"}))
    await write(api, ("update", "task", "p0", {"state": "done"}))
    await write(
        api,
        ("update", "folder", "plain", {"open": False}),
        ("create", "task", "p2", {"folder": "plain"}),
    )
    left = await socket.events(2)
    assert [(e["type"], e["match"], e["id"]) for e in left] == [
        ("deleted", "left", "p0"),
        ("deleted", "left", "p1"),
    ]
    assert all(set(e) == {"type", "object", "id", "match", "sub", "cursor"} for e in left)


async def test_whoever_loses_a_folder_hears_of_its_tasks_no_more(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    """A row rule that follows a lookup, on every event."""
    url = cluster.env["OQL_WS_URL"]
    async with open_socket(url, token_of(cluster, "ann")) as ann:
        await ann.subscribe("task", fields=["name"], where={"name": {"$startsWith": "rule"}})
        await write(
            api,
            ("create", "folder", "anns", {"owner": "ann"}),
            ("create", "folder", "bobs", {"owner": "bob"}),
            ("create", "task", "r1", {"name": "rule1", "folder": "anns"}),
            ("create", "task", "r2", {"name": "rule2", "folder": "bobs"}),
        )
        assert (await ann.hear())["data"]["name"] == "rule1"
        await write(api, ("update", "task", "r2", {"name": "rule2b"}))
        await write(api, ("update", "folder", "anns", {"owner": "bob"}))
        gone = await ann.hear()
        assert (gone["type"], gone["match"], gone["id"]) == ("deleted", "left", "r1")
        await write(api, ("update", "task", "r1", {"name": "rule1b"}))
        await write(api, ("update", "folder", "bobs", {"owner": "ann"}))
        came = await ann.hear()
        assert (came["type"], came["match"], came["data"]["name"]) == (
            *("updated", "entered"),
            "rule2b",
        )


async def test_random_changes_of_both_are_told_as_the_filter_says(
    cluster: Cluster, api: httpx.AsyncClient
) -> None:
    """Followers that are dropped again and again, against the truth of the outbox."""
    rng, pg_url = random.Random(5), cluster.env["OQL_PG_URL"]
    tokens = {"admin": cluster.env["OQL_ADMIN_TOKEN"], "ann": token_of(cluster, "ann")}
    asked: dict[str, Any] = {"where": OPEN, "fields": ["name", "version"]}
    followers = [
        (user, Follower(socket_urls(cluster), tokens[user], "task", pg_url=pg_url, seed=n, **asked))
        for n, user in enumerate(("admin", "ann", "ann"))
    ]
    following = [asyncio.ensure_future(follower.follow()) for _, follower in followers]
    tasks, folders = [f"t{n}" for n in range(12)], [f"f{n}" for n in range(4)]
    await write(
        api, *(("create", "folder", id_, {"open": True, "owner": "ann"}) for id_ in folders)
    )
    await write(api, *(("create", "task", id_, {"folder": rng.choice(folders)}) for id_ in tasks))
    for number in range(120):
        operations: dict[str, tuple[str, str, str, dict[str, Any]]] = {}
        for _ in range(rng.choice((1, 1, 1, 3))):
            if rng.random() < 0.4:
                change = {"open": rng.random() < 0.6, "owner": rng.choice(("ann", "bob"))}
                operation = ("update", "folder", rng.choice(folders), change)
            else:
                change = {"name": f"n{number}", "folder": rng.choice(folders)}
                change["state"] = rng.choice(("new", "new", "done"))
                operation = ("update", "task", rng.choice(tasks), change)
            operations[operation[2]] = operation
        await write(api, *operations.values())
        if number % 10 == 9:
            rng.choice(followers)[1].drop()
    end = {"open": True, "owner": "ann"}
    await write(
        api, ("create", "folder", "last", end), ("create", "task", f"{END}task", {"folder": "last"})
    )
    async with asyncio.timeout(60):
        await asyncio.gather(*following)
    changes = await truth(pg_url, "task") + await truth(pg_url, "folder")
    now = await ask_all(api, "task", ["id", "name", "version", "folder"], OPEN)
    owners = {f["id"]: f["owner"] for f in await ask_all(api, "folder", ["owner"], {})}
    for user, follower in followers:
        mine = [task for task in now if user in {"admin", owners[task["folder"]]}]
        seen = [{key: task[key] for key in ("id", "name", "version")} for task in mine]
        view = view_of(user)
        assert follower.faults(list(joined(changes, view)), view, seen) == []
        assert follower.resyncs == 0, user
    assert sum(follower.heard for _, follower in followers) > 100


def view_of(user: str) -> View:
    """What `user` hears of tasks, of which each image has its folder."""

    def sees(task: Record) -> bool:
        folder = task["folder"]
        if folder is None or not folder["open"] or task["state"] == "done":
            return False
        return user in {"admin", folder["owner"]}

    return View(sees, lambda task: {key: task[key] for key in ("id", "name", "version")})


def joined(changes: Sequence[Change], view: View) -> Iterator[Change]:
    """The changes of tasks, with the folder in each image; and of those whose folder has changed."""
    folders: dict[str, Record] = {}
    tasks: dict[str, Record] = {}
    ordered = sorted(changes, key=lambda change: change.position)
    for _, group in groupby(ordered, key=lambda change: change.batch or change.position):
        commit = list(group)
        before = dict(folders)
        touched: set[str] = set()
        for change in commit:
            if is_folder(change):
                put(folders, change)
        for change in commit:
            if not is_folder(change):
                touched.add(change.record)
                put(tasks, change)
                yield change._replace(
                    before=with_folder(change.before, before),
                    after=with_folder(change.after, folders),
                )
        batch = commit[0].batch or f"at {commit[0].position}"
        for id_, task in tasks.items():
            was, now = with_folder(task, before), with_folder(task, folders)
            assert was is not None
            assert now is not None
            if id_ not in touched and view.sees(was) != view.sees(now):
                yield Change(commit[0].position, id_, "updated", was, now, batch)


def is_folder(change: Change) -> bool:
    return "open" in (change.after or change.before or {})


def put(records: dict[str, Record], change: Change) -> None:
    if change.after is None:
        records.pop(change.record, None)
    else:
        records[change.record] = change.after


def with_folder(task: Record | None, folders: dict[str, Record]) -> Record | None:
    return None if task is None else {**task, "folder": folders.get(str(task.get("folder")))}
