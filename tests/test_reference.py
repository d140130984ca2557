"""The generated parts of the documentation say what the code says now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from scripts import reference

from objectql.errors import TRANSPORTS, ObjectQLError
from objectql.metadata.types import FIELD_TYPES


@pytest.mark.parametrize("path", reference.files(), ids=lambda path: path.name)
def test_generated_parts_are_current(path: Path) -> None:
    assert path.read_text() == reference.current(path), "run `make reference`"


def test_every_part_stands_somewhere_once() -> None:
    texts = "".join(path.read_text() for path in reference.files())
    placed = re.findall(r"<!-- generated: (\w+) -->", texts)
    assert sorted(placed) == sorted(reference.PARTS)


def test_the_table_of_field_types_has_a_row_for_each() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", reference.field_types(), re.MULTILINE)
    assert rows == list(FIELD_TYPES)


def test_every_error_code_in_a_guide_exists() -> None:
    known = {leaf.code for leaf in ObjectQLError.leaves()} | {"NOT_ATTEMPTED", "ROLLED_BACK"}
    known |= {each.grpc for each in TRANSPORTS.values()}
    for page in reference.GUIDES.glob("*.md"):
        words = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", page.read_text()))
        variables = ("OQL_", "PIP_", "DOCKER_", "DRAIN_S")
        codes = {word for word in words if not word.startswith(variables)}
        assert codes <= known, page.name


def test_every_relative_link_leads_somewhere() -> None:
    root = reference.ROOT
    pages = [*root.glob("*.md"), *(root / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(root)}: {target}"
