"""Formula fields can be shown, asked about, sorted by and added up, on every driver."""

from __future__ import annotations

from typing import Any

import pytest
from tests.engines import MakeDriver, kernel_with

from objectql.errors import MetadataInvalid, ObjectQLError
from objectql.kernel.meanings import check_meanings
from objectql.metadata.document import Document
from objectql.metadata.loader import build_snapshot

OBJECTS: dict[str, Any] = {
    "client": {
        "fields": {
            "name": {"type": "text"},
            "discount": {"type": "number"},
            "tier": {"type": "formula", "expression": "discount >= 20 ? 'gold' : 'plain'"},
        }
    },
    "line": {
        "fields": {
            "client": {"type": "lookup", "reference": "client"},
            "quantity": {"type": "number"},
            "price": {"type": "currency"},
            "gross": {
                "type": "formula",
                "data_type": "currency",
                "expression": "quantity * price",
            },
            "net": {
                "type": "formula",
                "data_type": "currency",
                "expression": "gross * (1 - (client.discount ?? 0) / 100)",
            },
            "label": {"type": "formula", "expression": "`${client.tier}: ${gross}`"},
            "start": {"type": "formula", "expression": "LEFT(label, 1)"},
            "share": {"type": "formula", "data_type": "number", "expression": "price / quantity"},
            "is_old": {
                "type": "formula",
                "data_type": "boolean",
                "expression": "DATEDIFF(created_at, $now) > 30",
            },
        }
    },
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "client": [{"id": "c1", "name": "A", "discount": 25}, {"id": "c2", "name": "B"}],
    "line": [
        {"id": "1", "client": "c1", "quantity": 3, "price": 10.05},
        {"id": "2", "client": "c2", "quantity": 0, "price": 5},
        {"id": "3", "quantity": 2, "price": 1.1},
        {"id": "4", "client": "c1", "quantity": 1},
    ],
}


async def test_formula_fields_are_answered_by_every_driver(make_driver: MakeDriver) -> None:
    async with kernel_with(make_driver("data"), OBJECTS, ROWS) as kernel:
        page = await kernel.find("line", {"orderBy": "id", "fields": ["gross", "net", "label"]})
        assert page.value == [
            {"id": "1", "gross": 30.15, "net": 22.61, "label": "gold: 30.15"},
            {"id": "2", "gross": 0, "net": 0, "label": "plain: 0"},
            {"id": "3", "gross": 2.2, "net": 2.2, "label": ": 2.2"},
            {"id": "4", "gross": None, "net": None, "label": "gold: "},
        ]
        record = await kernel.get("line", "2")
        assert record is not None
        assert (record["share"], record["is_old"]) == (None, False)

        found = await kernel.find("line", {"where": {"net": {"$gte": 2.2}}, "orderBy": "-net"})
        assert [row["id"] for row in found.value] == ["1", "3"]
        found = await kernel.find("line", {"where": {"client.tier": "gold"}, "orderBy": "id"})
        assert [row["id"] for row in found.value] == ["1", "4"]
        pages = await kernel.find("line", {"orderBy": "label", "limit": 2})
        assert [row["id"] for row in pages.value] == ["3", "4"]

        query = {
            "groupBy": ["client.tier"],
            "aggregations": [{"function": "sum", "field": "net", "alias": "total"}],
            "orderBy": "total",
        }
        groups = await kernel.find("line", query)
        assert groups.value == [
            {"client.tier": "plain", "total": 0},
            {"client.tier": None, "total": 2.2},
            {"client.tier": "gold", "total": 22.61},
        ]

        # Text functions are sub-selects in Postgres, which must be the same in GROUP BY and in SELECT.
        counted = {"groupBy": ["start"], "aggregations": [{"function": "count", "alias": "n"}]}
        groups = await kernel.find("line", counted)
        assert groups.value == [
            {"start": ":", "n": 1},
            {"start": "g", "n": 2},
            {"start": "p", "n": 1},
        ]
        starts = await kernel.find("line", {"fields": ["start"], "distinct": True})
        assert starts.value == [{"start": ":"}, {"start": "g"}, {"start": "p"}]

        with pytest.raises(ObjectQLError, match="not stored text"):
            await kernel.find("line", {"search": {"query": "gold", "fields": ["label"]}})

        # The answer to a write has what its own record computes; what is given for it is dropped.
        made = await kernel.create("line", {"quantity": 2, "price": 2.5, "gross": 99})
        assert (made["gross"], made["share"]) == (5, 1.25)
        changed = await kernel.update("line", made["id"], {"price": 10})
        assert changed["gross"] == 20


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ({"expression": "nothing * 2", "data_type": "number"}, 'there is no "nothing"'),
        ({"expression": "name * 2", "data_type": "number"}, "a number is expected"),
        ({"expression": "f + 1", "data_type": "number"}, "depend on itself: f → f"),
        ({"expression": "g", "data_type": "number"}, "depend on itself: f → g → f"),
        ({"expression": "client.wrong"}, 'there is no "client.wrong"'),
        ({"expression": "name.matches('a')", "data_type": "boolean"}, "no database has matches"),
        ({"expression": "previous.name"}, 'has no "name"'),
        ({"expression": "$is_new", "data_type": "boolean"}, 'has no "is_new"'),
        ({"expression": "1 +"}, "is expected here"),
    ],
)
def test_a_formula_that_means_nothing_is_refused_at_its_place(
    field: dict[str, Any], reason: str
) -> None:
    fields = {
        "name": {"type": "text"},
        "client": {"type": "lookup", "reference": "thing"},
        "f": {"type": "formula", **field},
        "g": {"type": "formula", "expression": "f", "data_type": "number"},
    }
    snapshot = build_snapshot([Document("t", "object", "thing", {"fields": fields})], 1)
    issues = [issue for issue in check_meanings(snapshot) if issue.path == "fields.f.expression"]
    assert [issue.code for issue in issues] == ["formula_invalid"]
    assert reason in issues[0].message


async def test_it_is_refused_when_it_is_published(make_driver: MakeDriver) -> None:
    objects = {"thing": {"fields": {"f": {"type": "formula", "expression": "nothing"}}}}
    with pytest.raises(MetadataInvalid, match="nothing"):
        async with kernel_with(make_driver("zoo"), objects, {}):
            pass
