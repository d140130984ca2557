from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.formula.syntax import FormulaError
from objectql.query.ast import And, Compare, Fact, Filter, Not, Op, Or
from objectql.security.expressions import translate


def eq(path: str, value: Any) -> Compare:
    return Compare(tuple(path.split(".")), Op.EQ, value)


@pytest.mark.parametrize(
    ("text", "filter_"),
    [
        ("amount < 1000", Compare(("amount",), Op.LT, 1000)),
        ("1000 > amount", Compare(("amount",), Op.LT, 1000)),
        ("amount >= -2.5", Compare(("amount",), Op.GTE, -2.5)),
        ("record.status == 'open'", eq("status", "open")),
        ('status !== "it\'s"', Compare(("status",), Op.NE, "it's")),
        (r"status = 'it\'s'", eq("status", "it's")),
        ("a.b.c == true", eq("a.b.c", True)),
        ("active", eq("active", True)),
        ("!active", Not(eq("active", True))),
        ("!!active", eq("active", True)),
        ("owner == null", eq("owner", None)),
        ("{owner} == 'me'", eq("owner", "me")),
        ("has(record.owner)", Compare(("owner",), Op.NULL, False)),
        ("owner == $current_user.id", eq("owner", Fact("id"))),
        ("current_user.id == record.owner", eq("owner", Fact("id"))),
        ("os.user.unit.region != region", Compare(("region",), Op.NE, Fact("unit.region"))),
        ("a == b", Compare(("a",), Op.EQ, ref=("b",))),
        ("status in ['a', 'b']", Compare(("status",), Op.IN, ("a", "b"))),
        ("status in []", Compare(("status",), Op.IN, ())),
        ("team in current_user.teams", Compare(("team",), Op.IN, Fact("teams"))),
        ("current_user.id in members", Compare(("members",), Op.CONTAINS, Fact("id"))),
        ("'x' in tags", Compare(("tags",), Op.CONTAINS, "x")),
        ("name.startsWith('A')", Compare(("name",), Op.STARTS_WITH, "A")),
        ("record.name.endsWith('z')", Compare(("name",), Op.ENDS_WITH, "z")),
        ("name.contains(current_user.code)", Compare(("name",), Op.CONTAINS, Fact("code"))),
        ("a == 1 && b == 2 || c == 3", Or((And((eq("a", 1), eq("b", 2))), eq("c", 3)))),
        ("a == 1 && (b == 2 || c == 3)", And((eq("a", 1), Or((eq("b", 2), eq("c", 3)))))),
        ("a == 1 and not b == 2", And((eq("a", 1), Not(eq("b", 2))))),
        ("true", And(())),
        ("false", Or(())),
    ],
)
def test_what_a_database_can_answer_is_translated(text: str, filter_: Filter) -> None:
    assert translate(text) == filter_


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("amount * 2 < 10", 8),
        ("size(tags) > 1", 1),
        ("name.matches('^a')", 1),
        ("1 == 1", 3),
        ("current_user.role == 'boss'", 19),
        ("'boss' in current_user.roles", 8),
        ("previous.status == 'open'", 1),
        ("os.env.region == region", 1),
        ("a == (b == c)", 9),
        ("(a == 1", 8),
        ("a == 1 b", 8),
        ("a ==", 5),
        ("a ? b : c", 1),
        ("", 1),
        ("a.", 3),
        ("status in [b]", 12),
        ("status in 'open'", 8),
        ("#", 1),
        ("$now > a", 1),
        ("(" * 40 + "a" + ")" * 40, 33),
        ("!status == 'x'", 1),
        ("a && " * 600 + "a", 2561),
    ],
)
def test_anything_else_is_refused_at_its_place(text: str, place: int) -> None:
    with pytest.raises(FormulaError, match=rf"at character {place}\)"):
        translate(text)


@given(st.text("ab.'\"()!=<>&|[], 1-\\$", max_size=40))
def test_no_text_does_anything_but_translate_or_be_refused(text: str) -> None:
    with contextlib.suppress(FormulaError):
        translate(text)
