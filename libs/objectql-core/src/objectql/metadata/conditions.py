"""Conditions of rules and permissions: the operators, and a check of their grammar.

A condition is `{field, operator, value}`, `{field, operator, compare_to}`, `{expression}` or
`{all_of | any_of | none_of: [conditions]}`; a rule may also write `{if, then, else}`.
"""

from __future__ import annotations

from collections.abc import Collection

from objectql.metadata.check_fields import expression
from objectql.metadata.document import Node
from objectql.metadata.keys import CONDITION, read_keys

_ALIASES = """= eq equals equal ==
!= ne not_equals not_equal <>
> gt greater_than
>= gte greater_than_or_equal
< lt less_than
<= lte less_than_or_equal
in
not_in nin
contains
not_contains
starts_with startswith
ends_with endswith
between
not_empty is_not_empty
is_empty empty
is_null
is_not_null not_null"""

OPERATORS: dict[str, str] = {
    alias: line.split()[0] for line in _ALIASES.splitlines() for alias in line.split()
}
"""Every spelling of an operator to its canonical one."""

UNARY = frozenset({"not_empty", "is_empty", "is_null", "is_not_null"})
GROUPS = ("all_of", "any_of", "none_of")


def check_condition(node: Node, fields: Collection[str] | None) -> None:
    """Report what is wrong with the condition at `node`.

    `fields` are the names that may be compared; None where they cannot be known.
    """
    keys = read_keys(node, CONDITION)
    if not keys:
        if node.is_mapping:
            node.fail("condition_empty", "a condition is expected here")
        return
    for group in GROUPS:
        if group in keys:
            for member in keys[group].elements():
                check_constraint_member(member, fields)
    if "expression" in keys:
        expression(keys["expression"])
    if "if" in keys:
        _check_branches(node, keys, fields)
    if "field" in keys:
        _check_comparison(node, keys, fields)
    elif not any(key in keys for key in (*GROUPS, "expression", "if")):
        node.fail("condition_without_field", "a condition names a field, a group or an expression")


def check_constraint_member(node: Node, fields: Collection[str] | None) -> None:
    """A condition, or a bare field name, which means that the field has a value."""
    if isinstance(node.value, str):
        check_field_name(node, fields)
    else:
        check_condition(node, fields)


def _check_branches(node: Node, keys: dict[str, Node], fields: Collection[str] | None) -> None:
    if "then" not in keys:
        node.fail("condition_without_then", "`if` needs a `then`")
    for key in ("if", "then", "else"):
        if key in keys:
            check_constraint_member(keys[key], fields)


def _check_comparison(node: Node, keys: dict[str, Node], fields: Collection[str] | None) -> None:
    check_field_name(keys["field"], fields)
    if "operator" not in keys:
        node.fail("condition_without_operator", "a condition needs an operator")
        return
    operator = check_operator(keys["operator"])
    if "compare_to" in keys:
        check_field_name(keys["compare_to"], fields)
    elif operator is not None and operator not in UNARY and "value" not in keys:
        node.fail("condition_without_value", f"{operator} needs a value or compare_to")
    if "value" in keys and operator in ("in", "not_in", "between"):
        _check_list(keys["value"], operator)


def check_operator(node: Node) -> str | None:
    """The canonical operator; None after reporting that there is no such one."""
    text = node.text()
    if text is None:
        return None
    operator = OPERATORS.get(text)
    if operator is None:
        node.fail("unknown_operator", f'"{text}" is no operator', near=text, among=OPERATORS)
    return operator


def _check_list(node: Node, operator: str) -> None:
    if isinstance(node.value, str) and node.value.startswith("$current_user."):
        return
    if not node.is_list:
        node.fail("operator_needs_list", f"{operator} needs a list")
    elif operator == "between" and len(node.elements()) != 2:
        node.fail("operator_needs_list", "between needs a list of two values")


def check_field_name(node: Node, fields: Collection[str] | None) -> str | None:
    """The name of a field (the head of a dotted path) that exists."""
    text = node.text()
    if text is None:
        return None
    if fields is not None and text.split(".")[0] not in fields:
        node.fail("unknown_field", f'there is no field "{text}"', near=text, among=fields)
        return None
    return text
