from __future__ import annotations

from typing import Any


async def test_the_file_of_an_object_is_text_with_a_tag(client: Any) -> None:
    answer = await client.get("/api/meta/proto/task")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "service TaskService {" in answer.text
    tag = {"if-none-match": answer.headers["etag"]}
    assert (await client.get("/api/meta/proto/task", headers=tag)).status_code == 304


async def test_all_files_come_with_their_paths(client: Any) -> None:
    items = (await client.get("/api/meta/proto")).json()["items"]
    paths = [each["path"] for each in items]
    assert paths == [
        "objectql/v1/object_service.proto",
        "objectql/app/v1/project.proto",
        "objectql/app/v1/task.proto",
    ]
    assert items[2]["content"] == (await client.get("/api/meta/proto/task")).text


async def test_an_object_that_is_not_there_has_no_file(client: Any) -> None:
    answer = await client.get("/api/meta/proto/nothing")
    assert (answer.status_code, answer.json()["code"]) == (404, "OBJECT_NOT_FOUND")


async def test_files_are_for_callers_who_say_who_they_are(client: Any) -> None:
    for path in ("/api/meta/proto", "/api/meta/proto/task"):
        answer = await client.get(path, headers={"authorization": ""})
        assert answer.status_code == 401
