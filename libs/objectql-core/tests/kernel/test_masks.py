"""Masked fields end to end, on every driver: shown at every door, asked about at none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from objectql.clock import SystemClock
from objectql.context import Actor, Context
from objectql.drivers.protocol import Driver
from objectql.errors import FieldUnknown, MetadataInvalid, ObjectQLError, ValidationFailed
from objectql.kernel.kernel import Kernel
from objectql.query.parse import parse_query
from objectql.wire.messages import (
    AggregateRequest,
    BatchOperation,
    BatchRequest,
    BulkRequest,
    BulkRow,
    CloneRequest,
    CreateRequest,
    FindRequest,
    GetRequest,
    HistoryRequest,
    PermissionsRequest,
    SearchRequest,
    UpdateRequest,
)

APP: dict[str, Any] = {
    "name": "bank",
    "objects": {
        "person": {
            "enable": {"trackHistory": True},
            "fields": {
                "name": {"type": "text", "searchable": True},
                "card": {"type": "text", "searchable": True},
                "income": {"type": "number", "scale": 0},
                "spouse": {"type": "lookup", "reference": "person"},
            },
        },
        "loan": {
            "fields": {
                "title": {"type": "text"},
                "person": {"type": "lookup", "reference": "person"},
            }
        },
    },
    "permissions": {
        "person": {
            "object": "person",
            "object_permissions": {"create": ["*"], "read": ["*"], "update": ["*"]},
            "field_masking": {
                "card": {"mask_format": "****-{last4}", "visible_to": ["boss"]},
                "income": {"mask_format": "***", "visible_to": ["boss"]},
                "spouse": {"mask_format": "someone", "visible_to": ["boss"]},
            },
        },
        "loan": {"object": "loan", "object_permissions": {"create": ["*"], "read": ["*"]}},
    },
}
CARD = "4111-1111-1111-1234"
PEOPLE: list[dict[str, Any]] = [
    {"id": "ann", "name": "Ann", "card": CARD, "income": 900, "spouse": None},
    {"id": "bob", "name": "Bob", "card": "77", "income": None, "spouse": "ann"},
]
MASKED = {
    "ann": {"card": "****-1234", "income": "***", "spouse": None},
    "bob": {"card": "****-", "income": None, "spouse": "someone"},
}


@pytest.fixture
async def kernel(driver: Driver) -> AsyncGenerator[Kernel]:
    kernel = Kernel([driver, APP])
    await kernel.start()
    for person in PEOPLE:
        await kernel.create("person", person)
    await kernel.create("loan", {"id": "l", "title": "House", "person": "ann"})
    yield kernel
    await kernel.stop()


def caller(*roles: str) -> Context:
    actor = Actor(id="u1", roles=roles)
    return Context(actor, SystemClock().now_ms() + 30_000, "r1")


CLERK = ("clerk",)


async def find(kernel: Kernel, object: str, *roles: str, **query: Any) -> list[dict[str, Any]]:
    parsed = parse_query(query, object=object)
    return json.loads((await kernel.handle_find(FindRequest(parsed), caller(*roles))).items)


async def got(kernel: Kernel, id_: str, *roles: str) -> dict[str, Any]:
    return json.loads((await kernel.handle_get(GetRequest("person", id_), caller(*roles))).record)


async def update(kernel: Kernel, id_: str, *roles: str, replace: bool = False, **data: Any) -> Any:
    request = UpdateRequest("person", id_, json.dumps(data).encode(), replace=replace)
    return json.loads((await kernel.handle_update(request, caller(*roles))).record)


def masked_part(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("card", "income", "spouse")}


async def test_a_record_is_shown_under_its_masks_wherever_it_is_shown(kernel: Kernel) -> None:
    people = await find(kernel, "person", *CLERK)
    assert {row["id"]: masked_part(row) for row in people} == MASKED
    assert masked_part(await got(kernel, "ann", *CLERK)) == MASKED["ann"]
    (row,) = await find(kernel, "loan", *CLERK, fields=["title", "person.card"])
    assert row["person.card"] == "****-1234"
    (row,) = await find(kernel, "loan", *CLERK, expand={"person": {}})
    assert masked_part(row["person"]) == MASKED["ann"]
    (row,) = await find(kernel, "person", *CLERK, fields=["card"], where={"id": "ann"})
    assert row == {"id": "ann", "card": "****-1234"}
    found = json.loads((await kernel.handle_search(SearchRequest("Ann"), caller(*CLERK))).body)
    (hit,) = (hit for hit in found["hits"] if hit["object"] == "person")
    assert CARD not in json.dumps(hit)
    changed = await update(kernel, "ann", *CLERK, name="Anna")
    assert masked_part(changed) == MASKED["ann"]


async def test_who_may_see_a_field_in_full_is_shown_no_mask(kernel: Kernel) -> None:
    for roles in (("boss",), ("admin",), ("clerk", "boss")):
        assert (await got(kernel, "ann", *roles))["card"] == CARD
        assert await find(kernel, "person", *roles, where={"card": CARD})


ASKING: dict[str, dict[str, Any]] = {
    "filter": {"where": {"card": CARD}},
    "denied filter": {"where": {"$not": {"income": {"$gt": 5}}}},
    "order": {"orderBy": [{"field": "income", "order": "desc"}]},
    "distinct": {"fields": ["card"], "distinct": True},
    "search": {"search": {"text": "1234", "fields": ["card"]}},
    "path": {"where": {"spouse.name": "Ann"}},
    "selected path": {"fields": ["spouse.name"]},
    "expand": {"expand": {"spouse": {}}},
    "inverse": {"expand": {"person_spouse": {}}},
    "group": {"groupBy": ["card"], "aggregations": [{"function": "count"}]},
    "aggregate": {"aggregations": [{"function": "max", "field": "income"}]},
    "count": {"aggregations": [{"function": "count_distinct", "field": "card"}]},
    "narrowed": {"aggregations": [{"function": "count", "filter": {"card": CARD}}]},
}


@pytest.mark.parametrize("way", list(ASKING))
async def test_nothing_can_be_asked_about_a_masked_field(kernel: Kernel, way: str) -> None:
    query = ASKING[way]
    assert await find(kernel, "person", "boss", **query) is not None
    with pytest.raises(FieldUnknown) as refused:
        await find(kernel, "person", *CLERK, **query)
    with pytest.raises(FieldUnknown) as unknown:
        await find(kernel, "person", *CLERK, where={"nothing_like_it": 1})
    assert refused.value.code == unknown.value.code
    assert {"card", "income", "spouse", "person_spouse"}.isdisjoint(refused.value.suggestions)


async def test_a_search_in_all_fields_finds_nothing_by_masked_ones(kernel: Kernel) -> None:
    body = json.loads((await kernel.handle_search(SearchRequest("1234"), caller(*CLERK))).body)
    assert body["hits"] == []
    body = json.loads((await kernel.handle_search(SearchRequest("1234"), caller("boss"))).body)
    assert [hit["id"] for hit in body["hits"]] == ["ann"]
    assert await find(kernel, "person", *CLERK, search="1234") == []


async def test_an_object_of_which_nothing_may_be_asked_is_left_out_of_a_search(
    kernel: Kernel,
) -> None:
    await kernel.publisher.put(
        "object", "secret", {"fields": {"word": {"type": "text", "searchable": True}}}
    )
    masked = {
        "object_permissions": {"read": ["*"]},
        "field_masking": {"word": {"mask_format": "***", "visible_to": ["boss"]}},
    }
    await kernel.publisher.put("permission", "secret", masked)
    await kernel.create("secret", {"id": "s", "word": "Ann"})
    for roles, found in ((CLERK, {"ann"}), (("boss",), {"ann", "s"})):
        body = json.loads((await kernel.handle_search(SearchRequest("Ann"), caller(*roles))).body)
        assert {hit["id"] for hit in body["hits"]} == found


async def test_a_path_through_another_object_asks_nothing_either(kernel: Kernel) -> None:
    asked = {"where": {"person.card": CARD}}
    assert await find(kernel, "loan", "boss", **asked)
    with pytest.raises(FieldUnknown):
        await find(kernel, "loan", *CLERK, **asked)


async def test_a_record_that_is_sent_back_as_it_was_read_changes_nothing(kernel: Kernel) -> None:
    for id_ in ("ann", "bob"):
        before = await got(kernel, id_, "boss")
        read = await got(kernel, id_, *CLERK)
        sent = {name: read[name] for name in ("name", "card", "income", "spouse")}
        await update(kernel, id_, *CLERK, replace=True, **sent)
        await update(kernel, id_, *CLERK, **sent)
        assert await got(kernel, id_, "boss") == before
    operation = BatchOperation(
        "person", "update", id="ann", data=json.dumps({"card": "****-1234"}).encode()
    )
    await kernel.handle_batch(BatchRequest((operation,)), caller(*CLERK))
    assert (await got(kernel, "ann", "boss"))["card"] == CARD


async def test_a_mask_is_never_stored_as_a_value(kernel: Kernel) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await update(kernel, "ann", *CLERK, card="****-9999")
    assert [issue.code for issue in refused.value.issues] == ["masked_value"]
    record = json.dumps({"name": "Eve", "card": "****-1234"}).encode()
    with pytest.raises(ValidationFailed):
        await kernel.handle_create(CreateRequest("person", record), caller(*CLERK))
    rows = BulkRequest("person", "create", (BulkRow(record),))
    (result,) = (await kernel.handle_bulk(rows, caller(*CLERK))).results
    assert result.error is not None
    assert len(await find(kernel, "person", "boss")) == 2


async def test_another_value_may_be_written_and_is_answered_under_the_mask(kernel: Kernel) -> None:
    changed = await update(kernel, "ann", *CLERK, card="5500-0000-0000-4321", income=7)
    assert masked_part(changed) == {"card": "****-4321", "income": "***", "spouse": None}
    assert (await got(kernel, "ann", "boss"))["card"] == "5500-0000-0000-4321"
    record = json.dumps({"name": "Eve", "card": "99-8765"}).encode()
    made = await kernel.handle_create(CreateRequest("person", record), caller(*CLERK))
    assert json.loads(made.record)["card"] == "****-8765"


async def test_a_copy_has_nothing_of_what_is_masked(kernel: Kernel) -> None:
    made = await kernel.handle_clone(CloneRequest("person", "ann"), caller(*CLERK))
    copied = await got(kernel, made.id, "boss")
    assert (copied["name"], copied["card"], copied["income"]) == ("Ann", None, None)


async def test_histories_and_events_are_told_under_the_masks(kernel: Kernel) -> None:
    await update(kernel, "ann", "boss", card="2222-1234", income=1)
    await update(kernel, "ann", "boss", card="2222-5678")
    reply = await kernel.handle_history(HistoryRequest("person", "ann"), caller(*CLERK))
    assert CARD not in reply.items.decode()
    latest, same_mask, created = json.loads(reply.items)
    assert latest["changes"] == {"card": {"old": "****-1234", "new": "****-5678"}}
    assert same_mask["changes"] == {}
    assert created["changes"]["card"] == {"old": None, "new": "****-1234"}
    model = kernel.engine.model
    policy, object_ = model.policy(caller(*CLERK).actor), model.object("person")
    shown = policy.visible(object_, dict(PEOPLE[0]))
    assert masked_part(dict(shown)) == MASKED["ann"]


async def test_callers_are_told_which_fields_are_masked(kernel: Kernel) -> None:
    told = json.loads((await kernel.handle_permissions(PermissionsRequest(), caller(*CLERK))).body)
    fields = told["objects"]["person"]["fields"]
    assert {name for name, field in fields.items() if field.get("masked")} == {
        *("card", "income", "spouse")
    }


async def test_callers_with_and_without_masks_never_share_an_answer(kernel: Kernel) -> None:
    """Also of reads that arrive together."""
    reads = [got(kernel, "ann", *roles) for roles in (CLERK, ("boss",)) * 8]
    cards = [record["card"] for record in await asyncio.gather(*reads)]
    assert cards == ["****-1234", CARD] * 8
    aggregate = AggregateRequest(parse_query({"groupBy": ["card"]}, object="person"))
    with pytest.raises(ObjectQLError):
        await kernel.handle_aggregate(aggregate, caller(*CLERK))


@pytest.mark.parametrize(
    ("field", "text"),
    [("card", "{last}"), ("card", ""), ("income", "{last2}"), ("id", "x"), ("spouse", "{")],
)
async def test_a_mask_that_cannot_be_shown_is_refused(
    kernel: Kernel, field: str, text: str
) -> None:
    file = {"object": "person", "field_masking": {field: {"mask_format": text}}}
    with pytest.raises(MetadataInvalid):
        await kernel.publisher.put("permission", "person", file)
