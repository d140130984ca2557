"""Conditions on rows as documents write them, to filters that are known to have a meaning.

The grammar has been checked when the metadata was loaded (`metadata.check_permissions`). What is
left to find is what cannot be asked of a database: it is reported at its place, and the condition
then holds for no record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from objectql.context import Actor
from objectql.errors import ObjectQLError
from objectql.formula.syntax import FormulaError
from objectql.metadata.conditions import OPERATORS
from objectql.metadata.document import Node
from objectql.metadata.keys import CONDITION, read_keys
from objectql.metadata.model import ObjectDef
from objectql.metadata.types import Storage
from objectql.query.ast import And, Compare, Fact, Filter, Not, Op, Or, Path
from objectql.query.rules import bind_rule
from objectql.query.scope import Schema, trusted_column
from objectql.query.values_in import resolve
from objectql.security.expressions import translate
from objectql.security.filters import NOBODY, moved

_CALLER = "$current_user."
_MOMENTS = {"$now": "{now}", "$today": "{today}"}
_NOBODY = Actor(id="")

_COMPARISONS = {
    "=": Op.EQ,
    "!=": Op.NE,
    ">": Op.GT,
    ">=": Op.GTE,
    "<": Op.LT,
    "<=": Op.LTE,
    "in": Op.IN,
    "not_in": Op.NIN,
    "contains": Op.CONTAINS,
    "not_contains": Op.NOT_CONTAINS,
    "starts_with": Op.STARTS_WITH,
    "ends_with": Op.ENDS_WITH,
    "between": Op.BETWEEN,
}
_WITH_VALUE = frozenset({"not_empty", "is_not_null"})


class ConditionReader:
    """Reads conditions on records of one object."""

    def __init__(self, object_: ObjectDef, schema: Schema) -> None:
        self._object = object_
        self._schema = schema

    def read(self, node: Node) -> Filter:
        """The filter of the condition at `node`; `NOBODY` after reporting why there is none."""
        return self._read(node, self._condition)

    def expression(self, node: Node) -> Filter:
        """As `read`, of an expression (a policy's `using`)."""
        return self._read(node, self._expression)

    def checked(self, filter_: Filter, node: Node) -> Filter:
        """`filter_`, which the document at `node` implies, or `NOBODY` as in `read`."""
        return filter_ if self._is_sound(filter_, node) else NOBODY

    def _read(self, node: Node, read: Callable[[Node, Path], Filter]) -> Filter:
        known = len(node.problems.errors)
        filter_ = read(node, ())
        return NOBODY if len(node.problems.errors) > known else self.checked(filter_, node)

    def _is_sound(self, filter_: Filter, node: Node) -> bool:
        """Whether the filter can be bound, and its literals fit; the caller does not matter."""
        try:
            bound = bind_rule(filter_, self._object, self._schema)
            resolve(bound.params, (), tenant="", actor=_NOBODY, now_ms=0)
        except ObjectQLError as exc:
            for issue in exc.issues:
                node.fail("rule_unusable", issue.message)
            if not exc.issues:
                node.fail("rule_unusable", exc.message)
            return False
        return self._has_truths(filter_, node)

    def _has_truths(self, filter_: Filter, node: Node) -> bool:
        """Whether only boolean fields stand where a truth is expected."""
        match filter_:
            case And(items) | Or(items):
                return False not in [self._has_truths(item, node) for item in items]
            case Not(item):
                return self._has_truths(item, node)
            case Compare(path, Op.EQ | Op.NE, bool()):
                field = trusted_column(self._schema, self._object, path).field
                if field.storage is not Storage.BOOLEAN:
                    node.fail("rule_unusable", f'"{".".join(path)}" is neither true nor false')
                return field.storage is Storage.BOOLEAN
            case Compare():
                return True

    # --- the forms of a condition -------------------------------------------------------------

    def _condition(self, node: Node, via: Path) -> Filter:
        """A condition on the record that the lookups `via` lead to."""
        if isinstance(node.value, str):
            return _has_value((*via, *node.value.split(".")))
        kind = node.value.get("type") if node.is_mapping else None
        match kind:
            case "simple":
                return self._simple(_without_type(node), via)
            case "complex":
                return self._infix(node.entries()["expression"], via)
            case "lookup":
                return self._lookup(node.entries(), via)
            case "formula":
                return self._expression(node.entries()["formula"], via)
            case _:
                return self._simple(node, via)

    def _simple(self, node: Node, via: Path) -> Filter:
        keys = read_keys(node, CONDITION)
        found: list[Filter] = []
        for group, join in _GROUPS.items():
            if group in keys:
                members = keys[group].elements()
                found.append(join(tuple([self._condition(each, via) for each in members])))
        if "if" in keys:
            when, then = self._condition(keys["if"], via), self._condition(keys["then"], via)
            otherwise = self._condition(keys["else"], via) if "else" in keys else And(())
            found.append(Or((And((when, then)), And((Not(when), otherwise)))))
        if "expression" in keys:
            found.append(self._expression(keys["expression"], via))
        if "field" in keys:
            found.append(_comparison(keys, via))
        return found[0] if len(found) == 1 else And(tuple(found))

    def _infix(self, node: Node, via: Path) -> Filter:
        """`a and b or c`, where `and` binds tighter than `or`; a list inside is a group."""
        alternatives: list[list[Filter]] = [[]]
        for index, element in enumerate(node.elements()):
            if index % 2:
                if element.value == "or":
                    alternatives.append([])
                continue
            nested = element.is_list
            found = self._infix(element, via) if nested else self._condition(element, via)
            alternatives[-1].append(found)
        return Or(tuple([And(tuple(items)) for items in alternatives]))

    def _lookup(self, keys: Mapping[str, Node], via: Path) -> Filter:
        """A condition on the record that `via` points to, which must be there.

        `object` names what it is of.
        """
        path = (*via, *str(keys["via"].value).split("."))
        try:
            field = trusted_column(self._schema, self._object, path).field
        except ObjectQLError as exc:
            keys["via"].fail("rule_unusable", exc.message)
            return NOBODY
        if field.reference != keys["object"].value:
            target = f'"{field.reference}"' if field.reference else "no record"
            message = f'"{field.name}" points to {target}, not to "{keys["object"].value}"'
            keys["object"].fail("unknown_reference", message)
            return NOBODY
        return And((_has_value((*path, "id")), self._condition(keys["condition"], path)))

    def _expression(self, node: Node, via: Path) -> Filter:
        try:
            return moved(translate(str(node.value)), via)
        except FormulaError as exc:
            node.fail("rule_untranslatable", str(exc))
            return NOBODY


def _none_of(items: tuple[Filter, ...]) -> Filter:
    return Not(Or(items))


_GROUPS: dict[str, Callable[[tuple[Filter, ...]], Filter]] = {
    "all_of": And,
    "any_of": Or,
    "none_of": _none_of,
}


def _comparison(keys: Mapping[str, Node], via: Path) -> Filter:
    path = (*via, *str(keys["field"].value).split("."))
    operator = OPERATORS[keys["operator"].value]
    if operator in _WITH_VALUE:
        return _has_value(path)
    if operator not in _COMPARISONS:
        return Compare(path, Op.NULL, True)
    op = _COMPARISONS[operator]
    if "compare_to" in keys:
        other = (*via, *str(keys["compare_to"].value).split("."))
        return Compare(path, op, ref=other)
    return Compare(path, op, _comparand(keys["value"].value if "value" in keys else None))


def _comparand(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple([_comparand(member) for member in cast("list[Any]", value)])
    if not isinstance(value, str):
        return value
    if value == "$current_user":
        return Fact("id")
    if value.startswith(_CALLER):
        return Fact(value.removeprefix(_CALLER))
    return _MOMENTS.get(value, value)


def _has_value(path: Path) -> Filter:
    return Compare(path, Op.NULL, False)


def _without_type(node: Node) -> Node:
    members = {key: member.value for key, member in node.entries().items() if key != "type"}
    return Node(members, node.document, node.path, node.problems)
