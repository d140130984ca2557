"""A field of every type, and what the original reads back after each was written."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from tests.vectors import load_vectors

MATRIX: list[dict[str, Any]] = load_vectors("objectstack-field-zoo.json").get("MATRIX", [])

TARGETS: dict[str, str] = {
    "f_lookup": "zoo_account",
    "f_master_detail": "zoo_project",
    "f_tree": "zoo_category",
}
"""The object that each reference leads to; the vectors leave its id open."""

_OPTIONS: dict[str, list[str]] = {
    "f_select": ["low", "medium", "high"],
    "f_radio": ["yes", "no"],
    "f_multiselect": ["red", "green", "blue"],
    "f_checkboxes": ["email", "sms", "push"],
}


def _field(name: str, type_: str) -> dict[str, Any]:
    field: dict[str, Any] = {"type": type_}
    if name in _OPTIONS:
        field["options"] = _OPTIONS[name]
    if name in TARGETS:
        field["reference"] = TARGETS[name]
    if type_ in {"rating", "slider", "progress"}:
        field["max"] = 5 if type_ == "rating" else 100
    if type_ == "vector":
        field["dimension"] = 3
    if type_ == "autonumber":
        field["format"] = "ZOO-{0000}"
    if type_ == "formula":
        field |= {"expression": "f_number * 0.75", "data_type": "number"}
    return field


def zoo_objects() -> dict[str, Any]:
    """The objects of the zoo, in an order in which each may be published alone."""
    named = {"name": {"type": "text", "required": True}}
    fields = {row["field"]: _field(row["field"], row["type"]) for row in MATRIX}
    return {
        "zoo_account": {"fields": named},
        "zoo_project": {"fields": named},
        "zoo_category": {
            "fields": {**named, "parent": {"type": "tree", "reference": "zoo_category"}}
        },
        "field_zoo": {"fields": {**named, **fields}},
    }


def written(targets: dict[str, str]) -> dict[str, Any]:
    """The record that the vectors write; `targets` are the ids that its references lead to."""
    record: dict[str, Any] = {"name": "Zoo"}
    for row in MATRIX:
        if "write" in row["check"]:
            record[row["field"]] = targets.get(row["field"], row["check"]["write"])
    return record


def differences(record: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """The fields of `record`, as read back, that are not as the vectors say, with their values."""
    return {
        row["field"]: record.get(row["field"], "absent")
        for row in MATRIX
        if not _is_as_recorded(row, record, sent)
    }


def _is_as_recorded(row: dict[str, Any], record: dict[str, Any], sent: dict[str, Any]) -> bool:
    name, check = row["field"], row["check"]
    value = record.get(name)
    match check["kind"]:
        case "equal":
            return _json_type(value) is _json_type(sent[name]) and value == sent[name]
        case "setEqual":
            return isinstance(value, list) and Counter(cast("list[Any]", value)) == Counter(
                sent[name]
            )
        case "present":
            return value is not None
        case "masked":
            return value != sent[name]
        case "computed":
            return value == check["expected"]
        case kind:
            raise AssertionError(f"unknown check {kind}")


def _json_type(value: object) -> type[object]:
    """JSON has one number type, but true is no number."""
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)
