from __future__ import annotations

from typing import Any

import pytest

from objectql.errors import MetadataNotFound, ObjectUnknown
from objectql.ids import FieldName
from objectql.metadata.document import Document
from objectql.metadata.loader import build_snapshot
from objectql.metadata.model import Item, ObjectDef
from objectql.metadata.registry import MetadataRegistry, MetadataSnapshot


def snapshot(version: int = 1, **objects: dict[str, Any]) -> MetadataSnapshot:
    documents = [Document("crm", "object", name, {"fields": f}) for name, f in objects.items()]
    return build_snapshot(documents, version)


def item(name: str, package: str | None = "p", *tags: str) -> Item:
    return Item("view", name, {"tags": list(tags)}, package)


def test_unknown_object_is_refused_with_a_suggestion() -> None:
    with pytest.raises(ObjectUnknown) as failure:
        snapshot(invoice={"a": {}}).object("invoce")
    assert failure.value.suggestions == ("invoice",)


def test_definitions_are_found_by_type_in_singular_and_plural() -> None:
    found = snapshot(invoice={"a": {}})
    assert found.get("objects", "invoice") is found.get("object", "invoice")
    assert [d.name for d in found.list("objects") if isinstance(d, ObjectDef)] == ["invoice"]
    assert found.types() == ("object",)
    assert found.by_package("crm") == (("object", "invoice"),)
    assert found.get("view", "none") is None


def test_dependents_and_inverse_lookups_name_who_refers() -> None:
    found = snapshot(
        invoice={"total": {"summary_object": "line", "summary_type": "count"}},
        line={"invoice": {"type": "master_detail", "reference": "invoice"}},
    )
    assert [(d.name, d.how) for d in found.dependents("invoice")] == [("line.invoice", "lookup")]
    assert [(d.name, d.how) for d in found.dependents("line")] == [("invoice.total", "summary")]
    assert [(o.name, f.name) for o, f in found.inverse_lookups("invoice")] == [("line", "invoice")]


def test_document_of_an_object_builds_the_same_object() -> None:
    fields: dict[str, Any] = {
        "number": {"type": "autonumber", "format": "A-{000}"},
        "status": {
            "options": ["a", {"value": "b", "default": True}],
            "validation": {"message": "x"},
        },
        "amount": {
            "type": "currency",
            "min": 0,
            "precision": 9,
            "scale": 2,
            "helpText": "how much",
        },
        "twice": {"expression": "amount * 2", "data_type": "number"},
        "parent": {"type": "tree", "reference": "thing"},
        "rows": {"type": "grid", "fields": {"x": {"type": "number"}}},
        "count": {"summary_object": "thing", "summary_type": "count"},
    }
    content: dict[str, Any] = {
        "fields": fields,
        "enable": {"trash": True, "apiMethods": ["get"]},
        "indexes": [{"fields": ["status", "amount"], "unique": True}],
        "actions": {"go": {"type": "global", "params": {"to": {"type": "email"}}}},
        "validations": [{"name": "r", "type": "unique", "field": "number"}],
        "stateMachine": {"states": {"a": {"on": {"B": "b"}}, "b": {"type": "final"}}},
        "ai_context": {"intent": "x"},
        "tags": ["t"],
    }
    first = build_snapshot([Document("p", "object", "thing", content)], 1)
    again = build_snapshot([Document("p", "object", "thing", first.document("object", "thing"))], 2)
    assert again.object("thing") == first.object("thing")
    assert first.by_tag("t") == (first.object("thing"),)


def test_missing_document_is_refused_with_a_suggestion() -> None:
    with pytest.raises(MetadataNotFound) as failure:
        snapshot(invoice={"a": {}}).document("objects", "invoic")
    assert (failure.value.type, failure.value.suggestions) == ("object", ("invoice",))


def test_publish_swaps_and_tells_listeners_until_they_leave() -> None:
    registry = MetadataRegistry()
    seen: list[tuple[int, int]] = []
    leave = registry.on_publish(lambda old, new: seen.append((old.version, new.version)))
    registry.publish(snapshot(1, a={"x": {}}))
    leave()
    registry.publish(snapshot(2, a={"x": {}}))
    assert seen == [(0, 1)]
    assert registry.snapshot.version == 2


def test_registered_item_stands_before_the_published_one() -> None:
    documents = [Document("crm", "view", "all", {"label": "published"})]
    registry = MetadataRegistry(build_snapshot(documents, 1))
    assert len(registry.list("views")) == 1
    own = item("all")
    registry.register(own)
    assert registry.get("views", "all") is own
    assert registry.list("view") == (own,)
    assert registry.unregister("view", "all")
    assert not registry.unregister("view", "all")
    assert registry.get("view", "all") is not own


def test_registering_again_leaves_no_trace_of_the_former_item() -> None:
    registry = MetadataRegistry()
    registry.register(item("a", "p", "red"))
    registry.register(item("a", "q", "blue"))
    assert registry.find_by_tag("red") == ()
    assert len(registry.find_by_tag("blue")) == 1
    assert registry.unregister_package("p") == 0
    assert registry.unregister_package("q") == 1
    assert registry.find_by_tag("blue") == ()


class CountingRegistry(MetadataRegistry):
    """Counts how many items are touched."""

    touched = 0

    def unregister(self, type: str, name: str) -> bool:
        self.touched += 1
        return super().unregister(type, name)


def test_removing_a_package_touches_its_own_items_only() -> None:
    registry = CountingRegistry()
    for n in range(1000):
        registry.register(item(f"other_{n}", f"package_{n % 7}", "shared"))
    for n in range(100):
        registry.register(item(f"mine_{n}", "mine", "shared"))
    registry.touched = 0
    assert registry.unregister_package("mine") == 100
    assert registry.touched == 100
    assert len(registry.find_by_tag("shared")) == 1000
    assert registry.get("view", "mine_5") is None


def test_a_tree_may_hang_its_records_into_the_tree_of_another_object() -> None:
    category = {"fields": {"parent": {"type": "tree", "reference": "category"}}}
    thing = {"fields": {"place": {"type": "tree", "reference": "category"}}}
    snapshot = build_snapshot(
        [Document("p", "object", "category", category), Document("p", "object", "thing", thing)], 1
    )
    assert snapshot.object("thing").fields[FieldName("place")].reference == "category"
