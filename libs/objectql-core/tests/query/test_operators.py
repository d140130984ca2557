"""Every operator on every kind of field, through every form of a filter."""

from __future__ import annotations

from typing import Any, cast

import pytest

from objectql.errors import InvalidFilter, ObjectQLError
from objectql.query.ast import Op
from objectql.query.bind import bind
from objectql.query.explain import describe_predicate
from objectql.query.parse import parse_query
from objectql.query.policy import AllowAll
from objectql.query.template import extract
from objectql.query.values_in import resolve
from objectql.query.words import DOLLAR_OF, TUPLE_OPERATORS
from objectql.testing.samples import ACTOR, NOW_MS, SampleSchema, field, object_def

_ORDERED = {Op.EQ, Op.NE, Op.GT, Op.GTE, Op.LT, Op.LTE, Op.IN, Op.NIN, Op.BETWEEN, Op.NULL}
_ON_LISTS = {Op.EQ, Op.NE, Op.CONTAINS, Op.NOT_CONTAINS, Op.NULL}

KINDS: dict[str, tuple[set[Op], list[Any], Any]] = {
    # type: the operators that it has, two values of it, and what is no value of it
    "text": (set(Op), ["a", "b"], None),
    "email": (set(Op), ["a@b.c", "b@b.c"], None),
    "select": (set(Op), ["x", "y"], None),
    "lookup": (set(Op), ["a", "b"], None),
    "rating": (_ORDERED, [1, "2"], "one"),
    "number": (_ORDERED, [1.5, "2"], "one"),
    "currency": (_ORDERED, [1, "2.50"], "one"),
    "boolean": (_ORDERED, [False, "true"], "maybe"),
    "date": (_ORDERED, ["2026-01-05", "2026-02-05"], "2026-02-30"),
    "datetime": (_ORDERED, ["2026-01-05", "2026-01-05T10:00:00Z"], "noon"),
    "time": (_ORDERED, ["10:00", "11:30:00"], "25:00"),
    "tags": (_ON_LISTS, ["a", "b"], None),
    "json": ({Op.NULL}, ["a", "b"], None),
    "location": ({Op.NULL}, ["a", "b"], None),
}
SCHEMA = SampleSchema(
    object_def(
        "thing",
        *(
            field(f"a_{kind}", kind, **({"reference": "thing"} if kind == "lookup" else {}))
            for kind in KINDS
        ),
    )
)
_FUNCTIONS = {
    Op.CONTAINS: "contains",
    Op.STARTS_WITH: "startswith",
    Op.ENDS_WITH: "endswith",
    Op.ICONTAINS: "icontains",
}
_COMPARISONS = {
    Op.EQ: "eq",
    Op.NE: "ne",
    Op.GT: "gt",
    Op.GTE: "ge",
    Op.LT: "lt",
    Op.LTE: "le",
}


def comparand(op: Op, values: list[Any]) -> Any:
    match op:
        case Op.IN | Op.NIN | Op.BETWEEN:
            return values
        case Op.NULL:
            return True
        case Op.EQ | Op.NE | Op.GT | Op.GTE | Op.LT | Op.LTE:
            return values[0]
        case _:
            return str(values[0])


def forms(name: str, op: Op, value: Any) -> list[Any]:
    """The condition as an object, as a tuple by every word, and as text if it can be."""
    found: list[Any] = [{name: {DOLLAR_OF[op]: value}}]
    if op is Op.NULL:
        return [*found, [name, "is_null"], {name: {"$exists": not value}}, f"{name} eq null"]
    found += [[name, word, value] for word, meant in TUPLE_OPERATORS.items() if meant is op]
    if op is Op.IN and isinstance(value, list):
        found.append(f"{name} in ({','.join(map(literal, cast('list[Any]', value)))})")
    if op in _COMPARISONS:
        found.append(f"{name} {_COMPARISONS[op]} {literal(value)}")
    if op in _FUNCTIONS:
        found.append(f"{_FUNCTIONS[op]}({name},{literal(value)})")
    return found


def literal(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else str(value).lower()


def outcome(where: Any) -> str:
    """What the condition becomes, with its values; or the code of its refusal."""
    extracted = extract(parse_query({"where": where}, object="thing"))
    try:
        bound = bind(extracted.template, SCHEMA, AllowAll(), places=extracted.places)
        params = resolve(
            bound.params, extracted.literals, tenant="t", actor=ACTOR, now_ms=NOW_MS, places=()
        )
    except ObjectQLError as error:
        return error.code
    return f"{describe_predicate(bound.where)} {params}"


@pytest.mark.parametrize("op", list(Op))
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_a_condition_is_taken_or_refused_alike(kind: str, op: Op) -> None:
    allowed, values, _ = KINDS[kind]
    found = {outcome(form) for form in forms(f"a_{kind}", op, comparand(op, values))}
    assert len(found) == 1
    assert (found.pop() == "INVALID_FILTER") is (op not in allowed)


@pytest.mark.parametrize("op", sorted(_ORDERED - {Op.NULL}))
@pytest.mark.parametrize("kind", [kind for kind, (_, _, bad) in KINDS.items() if bad is not None])
def test_a_value_that_does_not_fit_its_field_is_refused_in_every_form(kind: str, op: Op) -> None:
    bad = KINDS[kind][2]
    for form in forms(f"a_{kind}", op, comparand(op, [bad, bad])):
        assert outcome(form) == "INVALID_FILTER", form


@pytest.mark.parametrize("op", sorted(set(Op) - {Op.NULL}))
@pytest.mark.parametrize("value", [{"a": 1}, [[1]], 2**60, float("nan"), [], ""])
def test_comparands_without_meaning_are_refused_whatever_the_field(op: Op, value: Any) -> None:
    means_something = (value == "" and op in _COMPARISONS) or (
        value == [] and op in {Op.IN, Op.NIN}
    )
    if means_something:
        return
    for form in forms("a_text", op, value):
        if not isinstance(form, str):
            with pytest.raises(InvalidFilter):
                parse_query({"where": form}, object="thing")
