from __future__ import annotations

from typing import Any

import pytest

from objectql.metadata.diff import diff_snapshots, gravest
from objectql.metadata.document import Document
from objectql.metadata.loader import build_snapshot
from objectql.metadata.registry import MetadataSnapshot


def snapshot(content: dict[str, Any]) -> MetadataSnapshot:
    return build_snapshot([Document("p", "object", "t", content)], 1)


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = diff_snapshots(snapshot({"fields": old}), snapshot({"fields": new}))
    return [(c.path.removeprefix("t.fields."), c.kind, c.risk) for c in found]


CASES: list[tuple[dict[str, Any], dict[str, Any], tuple[str, str, str]]] = [
    ({"a": {}}, {"a": {}, "b": {}}, ("b", "field_added", "safe")),
    ({"a": {}}, {"a": {}, "b": {"required": True}}, ("b", "required_field_added", "risky")),
    ({"a": {}, "b": {}}, {"a": {}}, ("b", "field_removed", "breaking")),
    ({"a": {"type": "integer"}}, {"a": {"type": "number"}}, ("a.type", "storage_changed", "risky")),
    ({"a": {}}, {"a": {"type": "date"}}, ("a.type", "storage_changed", "breaking")),
    ({"a": {}}, {"a": {"type": "email"}}, ("a.type", "type_changed", "risky")),
    ({"a": {}}, {"a": {"required": True}}, ("a.required", "required_changed", "risky")),
    ({"a": {"required": True}}, {"a": {}}, ("a.required", "required_changed", "safe")),
    ({"a": {"maxLength": 5}}, {"a": {"maxLength": 9}}, ("a.max_length", "max_length_changed", "safe")),
    ({"a": {"maxLength": 5}}, {"a": {"maxLength": 3}}, ("a.max_length", "max_length_changed", "risky")),
    ({"a": {"options": ["x", "y"]}}, {"a": {"options": ["x"]}}, ("a.options", "options_removed", "risky")),
    ({"a": {"options": ["x"]}}, {"a": {"options": ["x", "y"]}}, ("a.options", "options_added", "safe")),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "change"), CASES)
def test_field_change_has_its_risk(
    old: dict[str, Any], new: dict[str, Any], change: tuple[str, str, str]
) -> None:
    found = changes(old, new)
    assert change in found
    assert [risk for _, _, risk in found] == [change[2]] * len(found)


def test_equal_snapshots_have_no_changes() -> None:
    one = snapshot({"fields": {"a": {}}})
    assert diff_snapshots(one, snapshot({"fields": {"a": {}}})) == ()
    assert gravest(()) == "safe"


def test_gravest_change_comes_first() -> None:
    old = snapshot({"fields": {"a": {}, "b": {}}, "indexes": {"i": {"fields": ["a"]}}})
    new = snapshot({"fields": {"a": {"required": True}, "c": {}}})
    found = diff_snapshots(old, new)
    assert [c.risk for c in found] == ["breaking", "risky", "safe", "safe"]
    assert gravest(found) == "breaking"


def test_objects_and_items_come_and_go() -> None:
    view = Document("p", "view", "v", {"label": "x"})
    one = build_snapshot([Document("p", "object", "a", {"fields": {"x": {}}}), view], 1)
    two = build_snapshot([Document("p", "object", "b", {"fields": {"x": {}}})], 2)
    assert [(c.path, c.kind) for c in diff_snapshots(one, two)] == [
        ("a", "object_removed"),
        ("b", "object_added"),
        ("view:v", "item_removed"),
    ]
