"""A field of every type, published and used over REST, comes back as it was written."""

from __future__ import annotations

import httpx
import pytest
from tests.clusters import body
from tests.vectors import needs_vectors
from tests.zoo import TARGETS, differences, written, zoo_objects

pytestmark = [pytest.mark.servers, needs_vectors]


async def test_every_field_type_comes_back_as_written(api: httpx.AsyncClient) -> None:
    for name, document in zoo_objects().items():
        published = await api.put(f"/api/meta/object/{name}", content=body(document))
        assert published.status_code == 200, published.text
    targets: dict[str, str] = {}
    for field, name in TARGETS.items():
        target = await api.post(f"/api/{name}", content=body({"name": "Target"}))
        assert target.status_code == 201, target.text
        targets[field] = target.json()["id"]

    sent = written(targets)
    made = await api.post("/api/field_zoo", content=body(sent))
    assert made.status_code == 201, made.text
    assert differences(made.json(), sent) == {}
    id_ = made.json()["id"]
    for path in (f"/api/field_zoo/{id_}", f"/api/v1/data/field_zoo/{id_}"):
        read = await api.get(path)
        assert read.status_code == 200, read.text
        assert differences(read.json().get("record", read.json()), sent) == {}
    page = await api.get("/api/field_zoo", params={"$filter": f"id eq '{id_}'"})
    assert page.json()["items"] == [made.json()]
