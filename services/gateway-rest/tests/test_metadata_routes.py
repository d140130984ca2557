from __future__ import annotations

from typing import Any

from objectql.errors import Issue, MetadataInvalid
from objectql.wire.messages import JsonReply, SnapshotReply


async def test_types_items_and_one_item(client: Any) -> None:
    assert (await client.get("/api/meta")).json() == {"items": [{"type": "object", "count": 1}]}
    assert (await client.get("/api/meta/object")).json() == {"items": [{"name": "task"}]}
    answer = await client.get("/api/meta/object/task")
    assert (answer.json(), answer.headers["etag"]) == ({"name": "task"}, '"7"')


async def test_an_unchanged_item_is_304(client: Any) -> None:
    answer = await client.get("/api/meta/object/task", headers={"if-none-match": '"7"'})
    assert (answer.status_code, answer.content) == (304, b"")


async def test_an_item_without_version_is_tagged_by_its_text(client: Any, kernel: Any) -> None:
    kernel.answers["meta_get"] = JsonReply(body=b"{}")
    tag = (await client.get("/api/meta/object/task")).headers["etag"]
    kernel.answers["meta_get"] = JsonReply(body=b'{"a":1}')
    assert (await client.get("/api/meta/object/task")).headers["etag"] != tag


async def test_a_missing_item_is_404(client: Any, kernel: Any) -> None:
    kernel.answers["meta_get"] = JsonReply(body=b"null", found=False)
    answer = await client.get("/api/meta/view/nope")
    assert (answer.status_code, answer.json()["code"]) == (404, "METADATA_NOT_FOUND")


async def test_put_publishes_and_waits_for_the_new_snapshot(
    client: Any, kernel: Any, services: Any
) -> None:
    asked = len(kernel.asked)
    answer = await client.put(
        "/api/meta/object/task?allow_destructive=true",
        content=b'{"name":"task"}',
        headers={"if-match": '"7"'},
    )
    assert answer.json() == {
        "type": "object",
        "name": "task",
        "version": 8,
        "changes": ["field added"],
    }
    put, snapshot = kernel.asked[asked:]
    assert put[0] == "meta_put"
    assert (put[1].document, put[1].if_version) == (b'{"name":"task"}', 7)
    assert put[1].allow_destructive is True
    assert snapshot[0] == "snapshot"


async def test_a_write_stands_even_if_the_snapshot_cannot_be_fetched(
    client: Any, kernel: Any
) -> None:
    kernel.answers["snapshot"] = SnapshotReply(version=1)
    answer = await client.delete("/api/meta/object/task")
    assert answer.json() == {"type": "object", "name": "task", "deleted": True, "version": 9}


async def test_metadata_problems_keep_their_places(client: Any, kernel: Any) -> None:
    kernel.answers["meta_put"] = MetadataInvalid(
        issues=(Issue("fields.a.type", "unknown_type", "no such type", "a.yml", 3, 5),)
    )
    answer = await client.put("/api/meta/object/task", json={})
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {
            "path": "fields.a.type",
            "code": "unknown_type",
            "message": "no such type",
            "file": "a.yml",
            "line": 3,
        }
    ]


async def test_unknown_parameters_are_refused(client: Any, kernel: Any) -> None:
    answer = await client.put("/api/meta/object/task?force=true", json={})
    assert (answer.status_code, answer.json()["code"]) == (400, "UNSUPPORTED_QUERY_PARAM")
    answer = await client.put("/api/meta/object/task?allow_destructive=1", json={})
    assert answer.status_code == 400
    assert kernel.count == 0
