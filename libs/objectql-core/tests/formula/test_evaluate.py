from __future__ import annotations

import tracemalloc
from decimal import Decimal
from typing import Any

import pytest

from objectql.formula.check import Wanted, check
from objectql.formula.evaluate import Outcome, evaluate
from objectql.formula.functions import Type
from objectql.formula.program import MAX_SIZE, Apply, Const, Input, Program, Root
from objectql.formula.syntax import FormulaError
from objectql.formula.texts import MAX_LENGTH

TYPES = {
    "a": Type.NUMBER,
    "n": Type.NUMBER,
    "blank": Type.NUMBER,
    "s": Type.TEXT,
    "empty": Type.TEXT,
    "none": Type.TEXT,
    "yes": Type.BOOLEAN,
    "d": Type.DATE,
    "m": Type.DATETIME,
    "tags": Type.LIST,
}
ROW: dict[str, Any] = {
    "a": 10,
    "n": 2.5,
    "s": "Ärger im Büro",
    "empty": "",
    "yes": True,
    "d": "2024-01-31",
    "m": "2024-02-29T13:14:15.123Z",
    "tags": ["x", "y"],
}
SYSTEM = {"now": "2026-01-15T12:30:45.000Z", "today": "2026-01-15"}


class Names:
    def type_of(self, root: Root, path: tuple[str, ...]) -> Type | None:
        return TYPES.get(".".join(path)) if root in ("record", "previous") else Type.TEXT


def compiled(text: str, data_type: str = "text", **wanted: Any) -> Program:
    return check(text, Names(), Wanted(data_type, **wanted))


def outcome(text: str, data_type: str = "text", **wanted: Any) -> Outcome:
    program = compiled(text, data_type, **wanted)
    places: dict[Root, dict[str, Any]] = {"record": ROW, "system": SYSTEM, "user": {"id": "u1"}}
    values = [places.get(s.root, {}).get(".".join(s.path)) for s in program.sources]
    return evaluate(program, values)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1 + 0.2", 0.3),
        ("a / 4 * n", 6.25),
        ("a % 3 - -7 % 3", 2.0),
        ("a ** -2 + Math.pow(n, 2)", 6.26),
        ("16 ** 0.5", 4.0),
        ("Math.round(-2.5) + Math.round(2.5)", 1.0),
        ("ROUND(2.345, 2) + ROUND(-2.5)", -0.65),
        ("Math.max(a, blank, 3) + MIN(n, 7)", 12.5),
        ("yes + 1", 2.0),
        ("parseInt('12px') + parseFloat('1.5e')", 13.5),
        ("s.length + tags.length", 15.0),
        ("s.indexOf('im')", 6.0),
        ("m - d", 2553255123.0),
        ("d.getFullYear() + d.getMonth() + d.getDate() + d.getDay()", 2058.0),
        ("m.getHours() * 100 + m.getMinutes()", 1314.0),
        ("DATEDIFF(d, m) + DATEDIFF(d, m, 'months') + daysBetween(m, d)", 1.0),
        ("DATEDIFF(d, m, 'hours')", 709.0),
        ("$year * 100 + $month", 202601.0),
        ("blank * 2", None),
        ("blank ?? 7", 7.0),
        ("blank || a", 10.0),
    ],
)
def test_numbers(text: str, value: float | None) -> None:
    assert outcome(text, "number").value == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'n: ' + n + ', ' + yes", "n: 2.5, true"),
        ("`${none}${a / 4} ${d}`", "2.5 2024-01-31"),
        ("s.toUpperCase()", "ÄRGER IM BÜRO"),
        ("s.substring(9, 6) + s.slice(-4) + s.charAt(1) + s[0]", "im BürorÄ"),
        ("s.split(' ')[1] + (s.split(' ')[5] ?? '!')", "im!"),
        ("s.replace('r', 'R').padStart(15, '.')", "..ÄRger im Büro"),
        ("s.replaceAll('r', '') + LEFT(s, 2) + RIGHT(s, 2) + MID(s, 2, 3)", "Äge im BüoÄrrorge"),
        ("CONCATENATE(s, none, empty)", "Ärger im Büro"),
        ("joinNonEmpty([none, 'x', empty, 'y'], '-')", "x-y"),
        ("none.toUpperCase()", None),
        ("n.toFixed(3) + TEXT(a)", "2.50010"),
        ("empty || 'default'", "default"),
        ("BLANKVALUE(empty, 'blank')", "blank"),
        ("yes && 'shown'", "shown"),
        ("a > 3 ? (yes ? 'A' : 'B') : null", "A"),
        ("IF(ISBLANK(none), 'nobody', none)", "nobody"),
        ("$current_user.id", "u1"),
        ("addMonths(d, 1)", "2024-02-29"),
        ("DATEADD(m, -1, 'year')", "2023-02-28T13:14:15.123Z"),
        ("DATEADD(m, 90, 'minutes')", "2024-02-29T14:44:15.123Z"),
        ("DATE(2024, 14, 0)", "2025-01-31"),
        ("addDays('9999-12-31', 1)", None),
        ("daysAgo(15)", "2025-12-31"),
    ],
)
def test_texts_and_days(text: str, value: str | None) -> None:
    assert outcome(text).value == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a > 5 && n < 3 || false", True),
        ("blank < 5 || blank >= 0", False),
        ("!(blank < 5)", True),
        ("s == null", False),
        ("a == '10'", True),
        ("m <= d", False),
        ("m == '2024-02-29'", True),
        ("m == '2024-02-29T13:14:15.123Z'", True),
        ("a in [1, 10]", True),
        ("'x' in tags && tags.includes('y') && !tags.includes('z')", True),
        ("AND(yes, NOT(ISBLANK(s)), OR(false, a == 10))", True),
        ("has(s) && isEmpty(empty) && isBlank(blank)", True),
        ("s.startsWith('Är') && s.endsWith('ro') && s.includes('im')", True),
        ("s.matches('^Ä.*o$')", True),
        ("previous.a == null", True),
        ("a", True),
        ("blank", None),
    ],
)
def test_truths(text: str, value: bool | None) -> None:
    assert outcome(text, "boolean").value is value


def test_money_is_exact_and_rounded_once() -> None:
    assert outcome("1.005 * 1", "currency").value == Decimal("1.01")
    assert outcome("a / 3", "currency").value == Decimal("3.33")
    assert outcome("a / 3", "number", scale=4).value == Decimal("3.3333")
    assert outcome("0 - 0.001", "currency").value == Decimal("0.00")


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("a / 0", "DIVISION_BY_ZERO"),
        ("a % (a - 10)", "DIVISION_BY_ZERO"),
        ("Number(s)", "TYPE_ERROR"),
        ("10 ** 64 * a", "DIVISION_BY_ZERO"),
        ("Math.sqrt(-a)", "RUNTIME_ERROR"),
        ("blank / 0", None),
    ],
)
def test_what_cannot_be_computed_is_blank_and_says_why(text: str, failure: str | None) -> None:
    assert outcome(text, "number") == Outcome(None, failure)  # pyright: ignore[reportArgumentType]


def test_a_value_can_stand_for_a_blank() -> None:
    assert outcome("blank + 1", "number", blank=0).value == 0
    assert outcome("none", blank="unknown").value == "unknown"


def test_a_body_runs_its_statements() -> None:
    text = """
        let rate = 0; const base = a * 2;
        if (a > 5) { rate += 1; } else if (yes) { rate = 7 } else rate -= 1;
        if (n > 100) return base;
        if (s == 'x') { rate = 100; if (yes) return 0 }
        return base + rate
    """
    assert outcome(text, "number").value == 21
    assert outcome("if (a < 0) return 1;", "number").value is None


@pytest.mark.parametrize(
    ("text", "data_type", "reason"),
    [
        ("nothing + 1", "number", 'there is no "nothing"'),
        ("d - '2024-01-30'", "number", "days are added by"),
        ("s * 2", "number", "a number is expected"),
        ("d + 1", "date", "days are added by"),
        ("tags == tags", "boolean", "lists do not compare"),
        ("yes > false", "boolean", "has no order"),
        ("d == a", "boolean", "do not compare"),
        ("a", "date", "a date is expected"),
        ("s", "date", "a date is expected"),
        ("a ** n", "number", "an exponent is"),
        ("yes ? a : d", "text", "one of these"),
        ("UNKNOWN(1)", "text", 'no function "UNKNOWN"'),
        ("s.unknown()", "text", 'no method "unknown"'),
        ("LEFT(s)", "text", "number of arguments"),
        ("'2024-13-01' < d", "boolean", "is no date"),
        ("s.matches('a(?=b)')", "boolean", "no pattern"),
        ("x = 1; return x", "number", "is no variable"),
        ("s.replaceAll(empty, 'x')", "text", "a literal text"),
        ("[a]", "text", "a list can only be looked into"),
    ],
)
def test_what_has_no_meaning_is_refused(text: str, data_type: str, reason: str) -> None:
    with pytest.raises(FormulaError, match=reason):
        compiled(text, data_type)


def test_a_body_that_multiplies_itself_is_refused_at_once() -> None:
    doubled = "let x = a; " + "".join(f"if (a > {n}) x = x + x; " for n in range(20)) + "return x"
    with pytest.raises(FormulaError, match=f"more than {MAX_SIZE} parts"):
        compiled(doubled, "number")
    forked = "".join(f"if (a == {n}) {{ if (yes) return {n} }} " for n in range(20)) + "return 0"
    with pytest.raises(FormulaError, match=f"more than {MAX_SIZE} parts"):
        compiled(forked, "number")


def test_texts_cannot_grow_beyond_measure() -> None:
    assert len(str(outcome("s.padStart(99999999, 'x')").value)) == 1000


@pytest.mark.parametrize(
    "text",
    [
        "'a'" + ".replaceAll('a', 'aaaaaaaaaa')" * 30,
        "let t = 'aaaaaaaa'; " + "t = t.replaceAll('a', t); " * 6 + "return t",
        "let t = 'aaaaaaaa'; " + "t = t.replaceAll('a', t); " * 4 + "return t.replace('a', t)",
        "let t = s.padStart(1000, 'x'); t = t + t + t + t; t = t + t + t + t; return t + t + t + t + t",
        "joinNonEmpty(['a', 'b', 'c', 'd'], 'xx'.replaceAll('x', 'y'.padStart(1000)).replaceAll(' ', s))",
    ],
)
def test_a_text_beyond_a_bound_is_blank_and_never_made(text: str) -> None:
    tracemalloc.start()
    try:
        assert outcome(text) == Outcome(None, "RUNTIME_ERROR")
        assert tracemalloc.get_traced_memory()[1] < 8 * MAX_LENGTH
    finally:
        tracemalloc.stop()


def test_a_text_may_have_as_many_characters_as_the_bound() -> None:
    full = "let t = 'aaaa'; " + "t = t.replaceAll('a', 'aaaa'); " * 7
    assert len(str(outcome(full + "return t").value)) == MAX_LENGTH
    assert outcome(full + "return t + '!'").value is None
    assert outcome(full + "return t.replace('a', 'bb')").value is None
    assert outcome(full + "return t.replaceAll('a', 'b')").value == "b" * MAX_LENGTH


def test_joined_texts_are_joined_once() -> None:
    root = compiled("s + ' ' + n + `${s}!`").root
    assert isinstance(root, Apply)
    assert [type(each) for each in root.arguments] == [Input, Const, Apply, Const, Input, Const]
    with pytest.raises(FormulaError, match="more than 1024 parts"):
        compiled("let t = s; " + "t = t + t; " * 60 + "return t")
