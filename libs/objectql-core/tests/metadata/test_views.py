from __future__ import annotations

from typing import Any

import pytest

from objectql.errors import ObjectUnknown
from objectql.metadata.document import Document
from objectql.metadata.loader import build_snapshot
from objectql.metadata.views import get_view

FIELDS = {
    "notes": {"type": "json"},
    "pw": {"type": "password"},
    "amount": {"type": "currency"},
    "name": {"required": True},
    "twice": {"expression": "amount * 2"},
    "secret_flag": {"type": "boolean", "hidden": True},
}


def view(type: Any, *documents: Document) -> dict[str, Any]:
    thing = Document("p", "object", "thing", {"fields": FIELDS})
    return get_view(build_snapshot([thing, *documents], 1), "thing", type)


def test_generated_list_starts_with_the_name_and_shows_what_fits_a_column() -> None:
    generated = view("list")
    assert [c["field"] for c in generated["columns"]] == ["name", "amount", "twice"]
    assert (generated["type"], generated["title"]) == ("datagrid", "Thing List")


def test_generated_form_holds_the_writable_fields() -> None:
    assert view("form")["sections"][0]["fields"] == ["notes", "pw", "amount", "name"]


def test_stored_view_is_preferred() -> None:
    container = Document(
        "p", "view", "thing", {"list": {"type": "kanban"}, "form": {"type": "tabbed"}}
    )
    assert view("list", container)["type"] == "kanban"
    assert view("form", container)["type"] == "tabbed"
    plain = Document("p", "view", "all", {"object": "thing", "type": "grid", "columns": []})
    assert view("list", plain)["name"] == "all"
    assert view("form", plain)["name"] == "default"


def test_view_of_an_unknown_object_is_refused() -> None:
    with pytest.raises(ObjectUnknown):
        get_view(build_snapshot([], 1), "thing", "list")
