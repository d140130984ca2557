"""Conditions of rules as functions over one record, and as filters over stored ones.

The grammar is `metadata.conditions`'; it has been checked when the metadata was loaded. A
comparison with a missing value is false, except that `!=`, `not_in` and `not_contains` hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, TypeAlias, cast

from objectql.kernel.formulas import RecordFormulas
from objectql.kernel.situation import Situation, read
from objectql.metadata.conditions import OPERATORS
from objectql.metadata.types import Storage
from objectql.query.tokens import user_fact
from objectql.values import canonical_instant, is_day

Predicate: TypeAlias = "Callable[[Situation], bool]"


class NeedsRecord(Exception):
    """A condition on stored records holds an expression, which needs the record at hand."""


class PredicateCompiler:
    """Compiles conditions over records of one object."""

    def __init__(self, formulas: RecordFormulas) -> None:
        self._formulas = formulas
        self._fields = formulas.fields

    def of(self, name: str) -> PredicateCompiler:
        """The compiler for records of another object."""
        return PredicateCompiler(self._formulas.of(name))

    def condition(self, condition: Any) -> Predicate:
        """The predicate of a condition; a bare field name means that the field has a value.

        Raises:
            FormulaError: an expression in it has no meaning.

        """
        if isinstance(condition, str):
            return _has_value(condition)
        parts = cast("Mapping[str, Any]", condition)
        found = [self._group(key, parts[key]) for key in _GROUPS if key in parts]
        if "if" in parts:
            found.append(self._branches(parts))
        if "expression" in parts:
            found.append(self.expression(str(parts["expression"])))
        if "field" in parts:
            found.append(self._comparison(parts))
        return found[0] if len(found) == 1 else lambda s: all(holds(s) for holds in found)

    def expression(self, text: str) -> Predicate:
        """The truth of an expression; what is blank is not true.

        Raises:
            FormulaError: it has no meaning.

        """
        return self._formulas.truth(text)

    def _group(self, kind: str, members: list[Any]) -> Predicate:
        compiled = [self.condition(member) for member in members]
        if _GROUPS[kind] == "all":
            return lambda s: all(holds(s) for holds in compiled)
        if _GROUPS[kind] == "any":
            return lambda s: any(holds(s) for holds in compiled)
        return lambda s: not any(holds(s) for holds in compiled)

    def _branches(self, parts: Mapping[str, Any]) -> Predicate:
        when, then = self.condition(parts["if"]), self.condition(parts["then"])
        otherwise = self.condition(parts["else"]) if "else" in parts else _always
        return lambda s: then(s) if when(s) else otherwise(s)

    def _comparison(self, parts: Mapping[str, Any]) -> Predicate:
        path = str(parts["field"])
        operator = OPERATORS[parts["operator"]]
        compare = COMPARE[operator]
        if "compare_to" in parts:
            other = str(parts["compare_to"])
            return lambda s: compare(read(s.record, path), read(s.record, other))
        value = self._literal(path, parts.get("value"))
        if isinstance(value, str) and value.startswith("$"):
            return lambda s: compare(read(s.record, path), resolve_token(value, s))
        return lambda s: compare(read(s.record, path), value)

    def _literal(self, path: str, value: Any) -> Any:
        """A bare day compared with an instant is its midnight."""
        field = self._fields.get(path)
        if field is None or field.storage is not Storage.DATETIME:
            return value
        return canonical_instant(value) if isinstance(value, str) and is_day(value) else value


_GROUPS = {
    "all_of": "all",
    "allOf": "all",
    "and": "all",
    "any_of": "any",
    "anyOf": "any",
    "or": "any",
    "none_of": "none",
    "noneOf": "none",
}


def resolve_token(text: str, situation: Situation) -> Any:
    """What `$now`, `$today` and `$current_user.x` stand for; other text is itself."""
    if text == "$now":
        return situation.now
    if text == "$today":
        return situation.now[:10]
    if text == "$current_user":
        return situation.actor.id
    if text.startswith("$current_user."):
        return user_fact(situation.actor, text.removeprefix("$current_user."))
    return text


def _always(_situation: Situation) -> bool:
    return True


def _has_value(path: str) -> Predicate:
    return lambda s: not is_blank(read(s.record, path)) and read(s.record, path) is not False


def is_blank(value: Any) -> bool:
    return value is None or value in ("", [])


def _pair(left: Any, right: Any) -> tuple[Any, Any]:
    """Both values, a float beside a Decimal being read as it is written."""
    if isinstance(left, Decimal) and isinstance(right, float):
        return left, Decimal(str(right))
    if isinstance(right, Decimal) and isinstance(left, float):
        return Decimal(str(left)), right
    return left, right


def is_equal(left: Any, right: Any) -> bool:
    """Equality of canonical values; true is not 1."""
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    left, right = _pair(left, right)
    return left == right


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(left: Any, right: Any) -> bool:
        if left is None or right is None or isinstance(left, bool) or isinstance(right, bool):
            return False
        if isinstance(left, str) is not isinstance(right, str):
            return False
        left, right = _pair(left, right)
        try:
            return compare(left, right)
        except TypeError:  # lists and objects have no order
            return False

    return holds


def _in(value: Any, members: Any) -> bool:
    return isinstance(members, list | tuple) and any(
        is_equal(value, member) for member in cast("list[Any]", members)
    )


def _contains(value: Any, part: Any) -> bool:
    if isinstance(value, list):
        return _in(part, value)
    return isinstance(value, str) and isinstance(part, str) and part in value


def _text_test(test: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, part: (
        isinstance(value, str) and isinstance(part, str) and test(value, part)
    )


_at_least = _ordered(lambda a, b: a >= b)
_at_most = _ordered(lambda a, b: a <= b)

COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": is_equal,
    "!=": lambda a, b: not is_equal(a, b),
    ">": _ordered(lambda a, b: a > b),
    ">=": _at_least,
    "<": _ordered(lambda a, b: a < b),
    "<=": _at_most,
    "in": _in,
    "not_in": lambda a, b: not _in(a, b),
    "contains": _contains,
    "not_contains": lambda a, b: not _contains(a, b),
    "starts_with": _text_test(str.startswith),
    "ends_with": _text_test(str.endswith),
    "between": lambda a, b: (
        isinstance(b, list | tuple)
        and len(cast("list[Any]", b)) == 2
        and _at_least(a, b[0])
        and _at_most(a, b[1])
    ),
    "not_empty": lambda a, _: not is_blank(a),
    "is_empty": lambda a, _: is_blank(a),
    "is_null": lambda a, _: a is None,
    "is_not_null": lambda a, _: a is not None,
}

_FILTERS = {
    "=": "$eq",
    "!=": "$ne",
    ">": "$gt",
    ">=": "$gte",
    "<": "$lt",
    "<=": "$lte",
    "in": "$in",
    "not_in": "$nin",
    "contains": "$contains",
    "not_contains": "$notContains",
    "starts_with": "$startsWith",
    "ends_with": "$endsWith",
    "between": "$between",
}


def to_filter(condition: Any, situation: Situation) -> dict[str, Any]:
    """The condition as a filter over stored records, in the object form of the query language.

    Raises:
        NeedsRecord: it holds an expression.

    """
    parts = cast("Mapping[str, Any]", condition)
    for key, kind in _GROUPS.items():
        if key in parts:
            members = [to_filter(member, situation) for member in parts[key]]
            if kind == "all":
                return {"$and": members}
            return {"$or": members} if kind == "any" else {"$not": {"$or": members}}
    if "field" not in parts or "operator" not in parts:
        if "operator" in parts or "expression" in parts or "if" in parts:
            raise NeedsRecord
        return dict(parts)  # written in the query language already
    field, operator = str(parts["field"]), OPERATORS[parts["operator"]]
    if operator in ("not_empty", "is_not_null"):
        return {field: {"$null": False}}
    if operator in ("is_empty", "is_null"):
        return {field: {"$null": True}}
    if "compare_to" in parts:
        return {field: {_FILTERS[operator]: {"$field": parts["compare_to"]}}}
    value = parts.get("value")
    if isinstance(value, str) and value.startswith("$"):
        value = resolve_token(value, situation)
    return {field: {_FILTERS[operator]: value}}
