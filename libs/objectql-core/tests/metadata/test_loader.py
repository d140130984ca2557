from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from objectql.errors import MetadataInvalid
from objectql.ids import FieldName, ObjectName
from objectql.metadata.document import CUSTOM_LAYER, Document
from objectql.metadata.encode import object_document
from objectql.metadata.loader import MAX_FILE_BYTES, build_snapshot, load_directory
from objectql.metadata.model import AuditDef
from objectql.metadata.types import Storage


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


def test_audit_of_an_object_is_read_and_told_again(tmp_path: Path) -> None:
    text = "audit: {retentionDays: 30, redact: [amount]}\nfields: {amount: {type: currency}}\n"
    snapshot = build_snapshot(
        load_directory(write(tmp_path, {"src/deal.object.yml": text})).items, version=1
    )
    deal = snapshot.objects[ObjectName("deal")]
    assert deal.audit == AuditDef(retention_days=30, redact=(FieldName("amount"),))
    document = object_document(deal)
    assert document["audit"] == {"retentionDays": 30, "redact": ["amount"]}
    again = build_snapshot([Document("x", "object", "deal", document)], version=1)
    assert again.objects[deal.name].audit == deal.audit


def test_directory_yields_documents_code_and_manifest(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "package.yml": "name: crm\nversion: 1.0.0\n",
            "src/deal.object.yml": "fields: {title: {}}\n",
            "src/deal.hook.py": "",
            "src/deal.action.py": "",
            "src/i18n/de/deal.json": '{"label": "Abschluss"}',
            "src/readme.md": "no metadata",
            "src/settings.yml": "no: metadata\n",
            "dist/deal.object.yml": "fields: {stale: {}}\n",
            "node_modules/x/y.object.yml": "\t",
        },
    )
    package = load_directory(root)
    assert (package.name, package.manifest["version"]) == ("crm", "1.0.0")
    assert [(d.type, d.name, d.path) for d in package.items] == [
        ("object", "deal", "src/deal.object.yml"),
        ("translation", "de.deal", "src/i18n/de/deal.json"),
    ]
    assert sorted((c.kind, c.object) for c in package.code_files) == [
        ("action", "deal"),
        ("hook", "deal"),
    ]


def test_build_folder_without_sources_is_read(tmp_path: Path) -> None:
    root = write(tmp_path, {"build/deal.object.yml": "fields: {a: {}}\n"})
    assert [d.name for d in load_directory(root, package="p").items] == ["deal"]


def test_unknown_kind_without_a_near_one_is_a_warning(tmp_path: Path) -> None:
    package = load_directory(write(tmp_path, {"docker.compose.yml": "a: 1\n"}))
    assert [w.code for w in package.warnings] == ["unknown_file_kind"]


def test_file_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    root = write(tmp_path, {"a.object.yml": "#" * (MAX_FILE_BYTES + 1)})
    with pytest.raises(MetadataInvalid) as failure:
        load_directory(root)
    assert [i.code for i in failure.value.issues] == ["file_too_large"]


def test_json_and_yaml_give_the_same_object(tmp_path: Path) -> None:
    yaml = load_directory(
        write(tmp_path / "y", {"a.object.yml": "fields:\n  s: {options: [yes, no, on]}\n"})
    )
    json = load_directory(
        write(
            tmp_path / "j",
            {"a.object.json": '{"fields":\n\t{"s": {"options": ["yes", "no", "on"]}}}'},
        )
    )
    objects = [build_snapshot(p.items, 1).object("a") for p in (yaml, json)]
    assert [o.value for o in objects[0].fields[FieldName("s")].options] == ["yes", "no", "on"]
    assert objects[0].fields == objects[1].fields
    assert json.items[0].positions["fields.s"] == (2, 3)


def build(*contents: tuple[str, dict[str, Any]]) -> Any:
    documents = [Document(layer, "object", "thing", content) for layer, content in contents]
    return build_snapshot(documents, 1).object("thing")


def test_later_layers_merge_key_by_key_and_custom_comes_last() -> None:
    thing = build(
        (CUSTOM_LAYER, {"fields": {"email": {"label": "Mail"}}}),
        ("base", {"label": "Base", "fields": {"email": {"type": "email", "label": "E"}}}),
        ("extension", {"fields": {"email": {"required": True, "unique": True}, "more": {}}}),
    )  # fmt: skip
    email = thing.fields["email"]
    assert (email.type, email.required, email.unique, email.label) == ("email", True, True, "Mail")
    assert list(thing.fields) == [
        "id", "email", "more", "created_at", "created_by", "updated_at", "updated_by", "version",
    ]  # fmt: skip
    assert thing.label == "Base"


def test_types_labels_and_plurals_are_filled_in() -> None:
    thing = build(
        (
            "p",
            {
                "fields": [
                    {"name": "due_date", "type": "date"},
                    {"name": "up", "reference_to": "Thing"},
                    {"name": "kind", "options": [1, 2]},
                    {"name": "n", "type": "integer"},
                    {"name": "sum", "expression": "n + 1"},
                    {"name": "plain"},
                ]
            },
        )
    )
    types = {n: f.type for n, f in thing.fields.items() if not f.system}
    assert types == {
        "due_date": "date",
        "up": "lookup",
        "kind": "select",
        "n": "number",
        "sum": "formula",
        "plain": "text",
    }
    assert thing.fields["due_date"].label == "Due Date"
    assert thing.fields["n"].storage is Storage.INTEGER
    assert thing.fields["up"].reference == "thing"
    assert thing.plural_label == "Things"


def test_inexact_reference_is_a_warning() -> None:
    content: dict[str, Any] = {"fields": {"up": {"reference": "Thing"}}}
    found = build_snapshot([Document("p", "object", "thing", content)], 1)
    assert [(w.code, w.path) for w in found.warnings] == [
        ("inexact_reference", "fields.up.reference")
    ]


def test_several_objects_may_share_a_document() -> None:
    content: dict[str, Any] = {
        "a": {"fields": {"x": {}}},
        "b": {"fields": {"y": {"reference": "a"}}},
    }
    found = build_snapshot([Document("p", "object", "all", content)], 1)
    assert list(found.objects) == ["a", "b"]


def test_rules_of_all_three_sources_are_kept_by_priority() -> None:
    unique = {"type": "unique", "field": "x"}
    content: dict[str, Any] = {
        "fields": {"x": {}},
        "validation": {"rules": [{"name": "a", **unique}]},
        "validations": [{"name": "b", **unique, "priority": 1}],
    }
    documents = [
        Document("p", "object", "t", content),
        Document("p", "validation", "t", {"rules": [{"name": "c", **unique}]}),
    ]
    rules = build_snapshot(documents, 1).object("t").validations
    assert [rule["name"] for rule in rules] == ["b", "a", "c"]


def test_seed_rows_permissions_and_workflow_machines_are_collected() -> None:
    documents = [
        Document("p", "object", "t", {"fields": {"status": {"options": ["a", "b"]}}}),
        Document("p", "data", "t", [{"id": "1", "status": "a"}]),
        Document("p", "permission", "t", {"object_permissions": {"read": ["x"]}}),
        Document("p", "permission", "team", {"objects": {"t": {"allowRead": True}}}),
        Document(
            "p", "workflow", "flow", {"object": "t", "states": {"a": {"on": {"GO": "b"}}, "b": {}}}
        ),
    ]
    found = build_snapshot(documents, 1)
    assert found.seeds[0].records == ({"id": "1", "status": "a"},)
    assert found.permissions[found.object("t").name].grants == {"read": ("x",)}
    assert found.object("t").state_machines["status"]["initial"] == "a"
    assert found.types() == ("object", "permission", "permission_set", "workflow")
