"""The values that the guide promises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from objectql.formula.check import Wanted, check
from objectql.formula.evaluate import evaluate
from objectql.formula.functions import Type
from objectql.formula.program import Root

GUIDE = Path(__file__).parents[4] / "docs" / "guides" / "formulas.md"
ROW: dict[str, Any] = {"amount": 10, "name": "Ada Lovelace", "due": "2024-01-31", "done": True}
TYPES = {
    "amount": Type.NUMBER,
    "name": Type.TEXT,
    "due": Type.DATE,
    "done": Type.BOOLEAN,
    "note": Type.TEXT,
}
EXAMPLE = re.compile(r"\| (`+)(.+?)\1 \| `(.*?)` \|")


class Names:
    def type_of(self, root: Root, path: tuple[str, ...]) -> Type | None:
        return TYPES.get(".".join(path)) if root == "record" else None


def examples() -> list[tuple[str, str]]:
    section = GUIDE.read_text().partition("| Expression | Value |")[2].partition("\n\n")[0]
    return [(match[2].strip(), match[3]) for match in EXAMPLE.finditer(section)]


@pytest.mark.parametrize(("text", "value"), examples())
def test_an_example_of_the_guide_has_the_value_beside_it(text: str, value: str) -> None:
    program = check(text, Names(), Wanted("text"))
    assert evaluate(program, [ROW.get(source.path[0]) for source in program.sources]).value == value


def test_the_guide_has_examples() -> None:
    assert len(examples()) == 14
