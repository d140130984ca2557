"""What a tenant has of its own, over what is published: checked, merged, and never in its way."""

from __future__ import annotations

import sys
from collections.abc import Sized
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from objectql.errors import MetadataInvalid
from objectql.ids import ObjectName, TenantId
from objectql.metadata.build import build_snapshot
from objectql.metadata.document import Document
from objectql.metadata.layered import Layered
from objectql.metadata.overlay import (
    TenantMetadata,
    build_overlay,
    fitting_overlay,
    own_document,
)
from objectql.metadata.registry import MetadataSnapshot
from objectql.metadata.slots import Slot
from objectql.metadata.tenant_snapshot import TenantSnapshot
from objectql.metadata.transfer import decode_own, encode_own

ACME = TenantId("acme")

BASE = build_snapshot(
    [
        Document("app", "object", name, content)
        for name, content in {
            "account": {
                "fields": {"name": {"type": "text"}, "size": {"type": "number"}},
                "tags": ["core"],
            },
            "contact": {
                "fields": {
                    "name": {"type": "text"},
                    "account": {"type": "lookup", "reference": "account"},
                }
            },
            "note": {"fields": {"text": {"type": "text"}}},
        }.items()
    ],
    7,
)


def own(*documents: Document, base: MetadataSnapshot = BASE, number: int = 1) -> TenantSnapshot:
    return build_overlay(base, ACME, TenantMetadata(number, documents))


def object_document(name: str, fields: dict[str, Any], **more: Any) -> Document:
    return own_document("object", name, {"fields": fields, **more})


NAMES = st.sampled_from(["name", "size", "id", "version", "a__c", "b__c", "_c", "c__c_", "Zz__c"])
FIELD = st.one_of(
    st.sampled_from(
        [
            {"type": "text"},
            {"type": "number", "unique": True},
            {"type": "lookup", "reference": "contact"},
            {"type": "lookup", "reference": "own__c"},
            {"type": "autonumber", "format": "{0}"},
            {"type": "master_detail", "reference": "contact"},
            {"type": "nothing"},
        ]
    ),
    st.none(),
    st.integers(),
)
OPTIONAL: dict[Any, st.SearchStrategy[Any]] = {
    "label": st.text(max_size=3),
    "enable": st.just({"trash": True}),
    "indexes": st.just({"i": {"fields": ["name"], "unique": True}}),
    "table": st.just("contact"),
    "object_permissions": st.just({"delete": ["all"]}),
}
FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    "fields": st.dictionaries(NAMES, FIELD, max_size=3),
}
OBJECT: st.SearchStrategy[Any] = st.fixed_dictionaries(FIELDS, optional=OPTIONAL)
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(NAMES, st.integers(), max_size=2),
)
CONTENT: st.SearchStrategy[Any] = OBJECT | ODD
DOCUMENTS = st.lists(
    st.builds(
        own_document,
        st.sampled_from(["object", "permission", "hook", "view"]),
        st.sampled_from(["account", "contact", "own__c", "other__c", "plain", "user__c"]),
        CONTENT,
    ),
    max_size=4,
)


@example([object_document("account", {"plain": {"type": "text"}})])
@example([object_document("account", {"size": {"type": "text"}})])
@given(DOCUMENTS)
def test_no_document_changes_anything_that_is_published(documents: list[Document]) -> None:
    snapshot = fitting_overlay(BASE, ACME, TenantMetadata(1, tuple(documents)))
    for name, object_ in BASE.objects.items():
        seen = snapshot.object(name)
        assert {key: seen.fields[key] for key in object_.fields} == object_.fields
        assert (seen.table, seen.indexes, seen.enable) == (
            object_.table,
            object_.indexes,
            object_.enable,
        )
        assert all(key.endswith("__c") for key in seen.fields.keys() - object_.fields.keys())
        assert snapshot.permissions.get(name) == BASE.permissions.get(name)
    added = snapshot.objects.keys() - BASE.objects.keys()
    assert all(name.endswith("__c") for name in added)
    tables = [object_.table for object_ in snapshot.objects.values()]
    assert len(tables) == len(set(tables))


@given(DOCUMENTS)
def test_documents_fit_or_every_problem_has_its_document(documents: list[Document]) -> None:
    metadata = TenantMetadata(1, tuple(documents))
    names = {f"{document.type}/{document.name}" for document in documents}
    files = problem_files(metadata)
    assert files <= names
    assert bool(fitting_overlay(BASE, ACME, metadata).asleep) == bool(files)


def problem_files(metadata: TenantMetadata) -> set[str | None]:
    try:
        build_overlay(BASE, ACME, metadata)
    except MetadataInvalid as exc:
        return {issue.file for issue in exc.issues}
    return set()


def test_indexes_of_a_tenants_snapshot_say_what_one_built_whole_would_say() -> None:
    snapshot = own(
        object_document("account", {"boss__c": {"type": "lookup", "reference": "contact"}}),
        object_document(
            "own__c", {"account": {"type": "lookup", "reference": "account"}}, tags=["core", "new"]
        ),
        own_document("permission", "own__c", {"object_permissions": {"read": ["sales"]}}),
    )
    inverse = {
        target: [(o.name, f.name) for o, f in snapshot.inverse_lookups(target)]
        for target in ("account", "contact", "note")
    }
    assert inverse == {
        "account": [("contact", "account"), ("own__c", "account")],
        "contact": [("account", "boss__c")],
        "note": [],
    }
    ((_, lookup),) = snapshot.inverse_lookups("contact")
    assert lookup is snapshot.object("account").fields[lookup.name]
    core = {o.name: o for o in snapshot.by_tag("core")}
    assert core.keys() == {"account", "own__c"}
    assert core[ObjectName("account")] is snapshot.object("account")
    assert [o.name for o in snapshot.by_tag("new")] == ["own__c"]
    assert len(snapshot.list("object")) == 4
    assert snapshot.document("permission", "own__c")["object"] == "own__c"
    assert "permission" in snapshot.types()
    assert {str(d) for d in map(repr, snapshot.dependents("contact"))} == {
        "field:account.boss__c (lookup)"
    }
    assert list(snapshot.object("account").fields)[:4] == ["id", "name", "size", "boss__c"]


def test_editions_differ_by_tenant_and_by_what_it_has() -> None:
    documents = [object_document("account", {n: {"type": "text"}}) for n in ("a__c", "b__c")]
    assert BASE.edition == BASE.version
    editions = {own(document).edition for document in documents}
    other = build_overlay(BASE, TenantId("globex"), TenantMetadata(1, (documents[0],)))
    slots = {"account": {"text_1__c": Slot("a__c")}}
    placed = build_overlay(BASE, ACME, TenantMetadata(1, (documents[0],), slots))
    assert len(editions | {other.edition, placed.edition, BASE.edition}) == 5
    assert own(documents[0], number=2).edition in editions


def test_a_snapshot_of_a_tenant_costs_what_its_own_costs() -> None:
    objects = {
        ObjectName(f"o{n}"): Document("app", "object", f"o{n}", {"fields": {"a": {"type": "text"}}})
        for n in range(300)
    }
    base = build_snapshot(objects.values(), 1)
    snapshot = own(object_document("o7", {"a__c": {"type": "text"}}), base=base)
    held: list[Any] = list(vars(snapshot).values())
    copied = [len(cast("Sized", value)) for value in held if isinstance(value, dict | tuple)]
    assert max(copied) < 10
    layers = [sys.getsizeof(cast("object", value)) for value in held if isinstance(value, Layered)]
    assert len(layers) >= 5
    assert sum(layers) < 1_000
    assert snapshot.objects[ObjectName("o8")] is base.objects[ObjectName("o8")]
    assert len(snapshot.objects) == 300


@given(
    st.dictionaries(st.integers(0, 5), st.integers()),
    st.dictionaries(st.integers(0, 5), st.integers()),
)
def test_a_layered_mapping_is_the_union(own: dict[int, int], base: dict[int, int]) -> None:
    layered = Layered(own, base)
    assert dict(layered) == base | own
    assert list(layered) == list(base | own)
    assert (len(layered), layered == base | own) == (len(base | own), True)
    assert [n in layered for n in range(7)] == [n in own or n in base for n in range(7)]


def test_what_a_tenant_has_survives_the_wire() -> None:
    metadata = TenantMetadata(3, (object_document("account", {"a__c": {"type": "text"}}),))
    assert decode_own(encode_own(metadata)) == metadata


@pytest.mark.parametrize("name", ["o__c", "o"])
def test_the_mark_is_what_tells_who_may_give_a_name(name: str) -> None:
    fields = {"a": {"type": "text"}}
    is_own = name.endswith("__c")
    if is_own:
        own(object_document(name, fields))
        with pytest.raises(MetadataInvalid):
            build_snapshot([Document("app", "object", name, {"fields": fields})], 1)
    else:
        build_snapshot([Document("app", "object", name, {"fields": fields})], 1)
        with pytest.raises(MetadataInvalid):
            own(object_document(name, fields))
