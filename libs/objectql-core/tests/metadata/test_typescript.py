"""Types for the client in JavaScript; the JavaScript build checks the golden file by its compiler."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.cli.types import types_of_files
from objectql.ids import FieldName, ObjectName
from objectql.metadata.model import FieldDef, Formula, ObjectDef, Option, system_fields
from objectql.metadata.typescript import typescript

ROOT = Path(__file__).parents[4]
GOLDEN = ROOT / "clients" / "javascript" / "example" / "objects.ts"


def object_of(name: str, *fields: FieldDef) -> ObjectDef:
    known = {field.name: field for field in (*system_fields(), *fields)}
    return ObjectDef(name=ObjectName(name), fields=known)


def field(type: str, **more: object) -> FieldDef:
    return FieldDef(name=FieldName("f"), type=type, **more)  # type: ignore[arg-type]


def test_the_types_of_the_examples_are_current() -> None:
    examples = ROOT / "examples"
    text = types_of_files([examples / "flights", examples / "crm"])
    command = "objectql types examples/flights examples/crm > clients/javascript/example/objects.ts"
    assert text == GOLDEN.read_text(), f"run `{command}`"


OPTIONS = (Option(value="a", label="A"), Option(value='b"', label="B"))


@pytest.mark.parametrize(
    ("declared", "read", "created"),
    [
        (field("text"), "f: string | null;", "f?: string | null;"),
        (field("text", required=True), "f: string;", "f: string;"),
        (field("text", required=True, default="x"), "f: string;", "f?: string;"),
        (field("number", scale=2), "f: number | null;", "f?: number | null;"),
        (field("lookup", multiple=True), "f: string[] | null;", "f?: string[] | null;"),
        (field("select", options=OPTIONS), r'f: "a" | "b\"" | null;', r'f?: "a" | "b\"" | null;'),
        (field("tags", options=OPTIONS), r'f: ("a" | "b\"")[] | null;', None),
        (field("json"), "f: unknown;", "f?: unknown;"),
        (field("password"), None, "f?: string | null;"),
        (field("autonumber"), "f: string | null;", None),
        (field("summary"), "f: number | null;", None),
        (
            field("formula", formula=Formula("1 > 0", data_type="boolean")),
            "f: boolean | null;",
            None,
        ),
        (field("text", readonly=True), "f: string | null;", None),
    ],
)
def test_a_field_has_the_type_of_its_values(
    declared: FieldDef, read: str | None, created: str | None
) -> None:
    text = typescript([object_of("thing", declared)])
    record, create = text.split("export interface ThingCreate")
    assert (f"  {read}\n" in record) if read else ("  f" not in record)
    if created is not None:
        assert f"  {created}\n" in create


def test_what_people_wrote_cannot_leave_its_comment() -> None:
    text = typescript([object_of("thing", field("text", help_text="*/ alert(1)\n/*"))])
    assert "/** *\\/ alert(1) /* */" in text


words = st.text("ab", min_size=1, max_size=2)
names = st.lists(
    st.sampled_from(["create", "update", "objects", "omit", "partial", "a"]) | words,
    min_size=1,
    max_size=3,
)


@given(st.sets(names.map("_".join), min_size=1, max_size=6))
def test_no_two_types_have_one_name(objects: set[str]) -> None:
    text = typescript(object_of(name) for name in objects)
    declared = re.findall(r"^export (?:interface|type) (\w+)", text, re.MULTILINE)
    assert len(declared) == 3 * len(objects) + 1
    assert len(set(declared) | {"Omit", "Partial"}) == len(declared) + 2
