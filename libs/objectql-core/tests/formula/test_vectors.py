"""Calls recorded from the original formula engine, replayed against ours."""

from __future__ import annotations

from typing import Any, cast

import pytest
from tests.vectors import load_vectors, needs_vectors

from objectql.formula.check import Wanted, check
from objectql.formula.dependencies import dependencies
from objectql.formula.evaluate import Outcome, evaluate
from objectql.formula.functions import Type
from objectql.formula.program import Root, Source
from objectql.formula.syntax import FormulaError

pytestmark = needs_vectors

SKIPPED = {
    67: "functions registered from code could be lowered to no database",
    68: "functions registered from code could be lowered to no database",
}
UNDEFINED = {"optional_field": None}
"""What the original's test set to `undefined`, which the recording dropped."""
ONLY_TEXTS_BY_PATTERN = {
    62: "the original finds the name in `$today` too, which is no field",
    63: "the original takes every name of a chain for a field",
    65: "the original takes words inside texts for fields",
}


def cases(method: str) -> list[Any]:
    groups = load_vectors("objectql-formula-cases.json").get("groups", {})
    found = [case for group in groups.values() for case in group]
    return [
        pytest.param(
            n, case, id=str(n), marks=[pytest.mark.skip(SKIPPED[n])] if n in SKIPPED else []
        )
        for n, case in enumerate(found)
        if case["method"] == method
    ]


def decoded(value: Any) -> Any:
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return members.get("$date") or {key: decoded(each) for key, each in members.items()}
    return value


class _Recorded:
    """Names and values of a recorded context; types are those of the values."""

    def __init__(self, context: dict[str, Any]) -> None:
        self._record = UNDEFINED | decoded(context["record"])
        self._user = context["current_user"]
        system = decoded(context["system"])
        self._system = {"now": system["now"], "today": system["today"][:10]}
        self._system["is_new"] = context["is_new"]

    def _at(self, root: Root, path: tuple[str, ...]) -> Any:
        value: Any = {"user": self._user, "system": self._system}.get(root, self._record)
        for name in path:
            value = {} if value is None else value[name]
        return None if value == {} else value

    def type_of(self, root: Root, path: tuple[str, ...]) -> Type | None:
        try:
            value = self._at(root, path)
        except (KeyError, TypeError):
            return Type.TEXT if path == ("account", "name") else None
        if isinstance(value, str) and value.endswith("Z"):
            return Type.DATETIME
        if isinstance(value, bool):
            return Type.BOOLEAN
        is_number = isinstance(value, int | float) or path == ("value",)
        return Type.NUMBER if is_number else Type.TEXT

    def value(self, source: Source) -> Any:
        try:
            return self._at(source.root, source.path)
        except KeyError:
            return None


@pytest.mark.parametrize(("n", "case"), cases("evaluate"))
def test_recorded_evaluation_gives_the_recorded_value(n: int, case: dict[str, Any]) -> None:
    text, context, data_type = case["args"]
    recorded, expected = _Recorded(context), case["result"]
    try:
        program = check(text, recorded, Wanted(data_type))
        found = evaluate(program, [recorded.value(source) for source in program.sources])
    except FormulaError as exc:
        found = Outcome(None, exc.code)
    value = decoded(expected["value"])
    if data_type == "date":
        value = value[:10]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    assert (float(cast("Any", found.value)) if is_number else found.value) == value, n
    assert (found.failure is None) is expected["success"], n


@pytest.mark.parametrize(("n", "case"), cases("validate"))
def test_recorded_validation_accepts_and_refuses_alike(n: int, case: dict[str, Any]) -> None:
    (text,) = case["args"]
    try:
        dependencies(text)
        is_valid = True
    except FormulaError:
        is_valid = False
    assert is_valid is case["result"]["valid"], n


@pytest.mark.parametrize(("n", "case"), cases("extractMetadata"))
def test_recorded_metadata_are_found(n: int, case: dict[str, Any]) -> None:
    _, text, _ = case["args"]
    found, expected = dependencies(text), case["result"]
    assert found.complexity == expected["complexity"]
    assert list(found.system_variables) == expected["system_variables"]
    assert list(found.lookup_chains) == expected["lookup_chains"]
    if n in ONLY_TEXTS_BY_PATTERN:
        assert set(found.fields) < set(expected["dependencies"])
    else:
        assert list(found.fields) == expected["dependencies"]
