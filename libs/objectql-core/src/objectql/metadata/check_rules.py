"""Validation rules: their grammar is checked here, their meaning is `kernel.rules`'.

The rules of an object come from its `validation.rules`, its `validations` and every
`*.validation.yml` that names it; all of them run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from objectql.metadata.check_fields import expression
from objectql.metadata.check_json_schema import check_json_schema, check_pattern
from objectql.metadata.conditions import (
    check_condition,
    check_constraint_member,
    check_field_name,
)
from objectql.metadata.document import Node
from objectql.metadata.keys import CONSTRAINT, RELATED, RELATIONSHIP, RULE, TRANSITION, read_keys
from objectql.metadata.model import FieldDef

TRIGGERS = ("create", "update", "delete")
SEVERITIES = ("error", "warning", "info")
MAX_PRIORITY = 9999

Fields = Mapping[str, FieldDef]
Keys = dict[str, Node]


def check_rules(nodes: Collection[Node], fields: Fields) -> tuple[Mapping[str, Any], ...]:
    """The rules under canonical keys, by priority and then in the order of declaration."""
    rules: list[dict[str, Any]] = []
    names: set[str] = set()
    for node in nodes:
        keys = read_keys(node, RULE)
        if not node.is_mapping:
            continue
        name = keys["name"].text() if "name" in keys else None
        if "name" not in keys:
            node.fail("rule_without_name", "a rule needs a name")
        elif name in names:
            keys["name"].fail("duplicate_rule", f'the rule "{name}" is declared twice')
        names.add(name or "")
        check_rule(node, keys, fields)
        rules.append({key: member.value for key, member in keys.items()})
    return tuple(sorted(rules, key=_priority))


def _priority(rule: Mapping[str, Any]) -> int:
    priority = rule.get("priority")
    return priority if isinstance(priority, int) else 100


def check_rule(node: Node, keys: Keys, fields: Fields) -> None:
    """Report what is wrong with one rule."""
    _check_common(keys, fields)
    if "type" not in keys:
        node.fail("rule_without_type", "a rule needs a type")
        return
    kind = keys["type"].text()
    if kind is None:
        return
    check = _CHECKS.get(kind)
    if check is None:
        message = f'"{kind}" is no type of rule'
        keys["type"].fail("unknown_rule_type", message, near=kind, among=_CHECKS)
        return
    check(node, keys, fields)


def _check_common(keys: Keys, fields: Fields) -> None:
    if "message" in keys:
        _check_message(keys["message"])
    if "severity" in keys:
        keys["severity"].choice(SEVERITIES)
    if "trigger" in keys:
        for element in keys["trigger"].elements():
            element.choice(TRIGGERS)
    if "fields" in keys:
        for element in keys["fields"].elements():
            check_field_name(element, fields)
    if "apply_when" in keys:
        check_condition(keys["apply_when"], fields)
    if "priority" in keys:
        priority = keys["priority"].count()
        if priority is not None and priority > MAX_PRIORITY:
            keys["priority"].fail("priority_out_of_range", f"priorities end at {MAX_PRIORITY}")
    for flag in ("skip_bulk", "async", "active", "case_sensitive"):
        if flag in keys:
            keys[flag].boolean()


def _check_message(node: Node) -> None:
    if node.is_mapping:
        texts = node.entries()
        if not texts:
            node.fail("message_empty", "a message needs a text for at least one language")
        for text in texts.values():
            text.text()
    else:
        node.text()


def _needs(node: Node, keys: Keys, *names: str) -> bool:
    """Whether all of `names` are there; what is not is reported."""
    missing = [name for name in names if name not in keys]
    for name in missing:
        node.fail("rule_incomplete", f'this rule needs "{name}"')
    return not missing


def _check_field(node: Node, keys: Keys, fields: Fields) -> None:
    if _needs(node, keys, "rule"):
        check_condition(keys["rule"], fields)


def _check_cross_field(node: Node, keys: Keys, fields: Fields) -> None:
    if "rule" in keys:
        check_condition(keys["rule"], fields)
    elif _needs(node, keys, "field", "operator"):
        parts = ("field", "operator", "value", "compare_to")
        flat = {part: keys[part].value for part in parts if part in keys}
        check_condition(_flat(node, flat), fields)


def _flat(node: Node, members: dict[str, Any]) -> Node:
    """The condition that a flat rule is; places stay those of the rule."""
    return Node(members, node.document, node.path, node.problems)


def _check_conditional(node: Node, keys: Keys, fields: Fields) -> None:
    if "when" in keys:
        check_condition(keys["when"], fields)
        if _needs(node, keys, "then"):
            _check_nested(keys["then"], fields)
        if "otherwise" in keys:
            _check_nested(keys["otherwise"], fields)
    elif _needs(node, keys, "condition", "rule"):
        check_condition(keys["condition"], fields)
        check_condition(keys["rule"], fields)


def _check_nested(node: Node, fields: Fields) -> None:
    """A rule inside a rule; it may leave out its name."""
    keys = read_keys(node, RULE)
    if "type" in keys:
        check_rule(node, keys, fields)
    elif node.is_mapping:
        check_condition(node, fields)


def _check_state_machine(node: Node, keys: Keys, fields: Fields) -> None:
    if not _needs(node, keys, "field", "transitions"):
        return
    name = check_field_name(keys["field"], fields)
    field = fields.get(name) if name else None
    states = {str(option.value) for option in field.options} if field else set[str]()
    for state, member in keys["transitions"].entries().items():
        _check_state(member, state, states)
        targets = member
        if member.is_mapping:
            inner = read_keys(member, TRANSITION)
            if "allowed_next" not in inner:
                if not ("is_terminal" in inner and inner["is_terminal"].value is True):
                    member.fail("rule_incomplete", 'a transition needs "allowed_next"')
                continue
            targets = inner["allowed_next"]
        for target, element in targets.texts():
            _check_state(element, target, states)
    if "initial_states" in keys:
        for state, element in keys["initial_states"].texts():
            _check_state(element, state, states)
    if "transition_conditions" in keys:
        for member in keys["transition_conditions"].entries().values():
            check_condition(member, fields)


def _check_state(node: Node, state: str, states: Collection[str]) -> None:
    if states and state not in states:
        message = f'"{state}" is not an option of the field'
        node.fail("unknown_state", message, near=state, among=states)


def _check_unique(node: Node, keys: Keys, fields: Fields) -> None:
    if "fields" not in keys and _needs(node, keys, "field"):
        check_field_name(keys["field"], fields)
    if "scope" in keys:
        check_condition(keys["scope"], fields)


def _check_business_rule(node: Node, keys: Keys, fields: Fields) -> None:
    if not _needs(node, keys, "constraint"):
        return
    constraint = keys["constraint"]
    parts = read_keys(constraint, CONSTRAINT)
    if not parts and constraint.is_mapping:
        constraint.fail("rule_incomplete", "a constraint says what must hold")
    if "expression" in parts:
        expression(parts["expression"])
    for group in ("all_of", "any_of", "none_of"):
        if group in parts:
            for member in parts[group].elements():
                check_constraint_member(member, fields)
    if "if_field" in parts:
        check_constraint_member(parts["if_field"], fields)
        if "then_require" not in parts:
            constraint.fail("rule_incomplete", '"if_field" needs "then_require"')
    if "then_require" in parts:
        for element in parts["then_require"].elements():
            check_constraint_member(element, fields)
    if "relationships" in parts:
        for member in parts["relationships"].entries().values():
            relationship = read_keys(member, RELATIONSHIP)
            if _needs(member, relationship, "object", "via"):
                check_field_name(relationship["via"], fields)


def _check_dependency(node: Node, keys: Keys, fields: Fields) -> None:
    if not _needs(node, keys, "condition"):
        return
    members = keys["condition"].entries()
    kinds = [kind for kind in ("has_related", "lookup") if kind in members]
    if not kinds:
        keys["condition"].fail("rule_incomplete", "a dependency says has_related or lookup")
    for kind in kinds:
        related = read_keys(members[kind], RELATED)
        if kind == "has_related":
            _needs(members[kind], related, "object", "relation_field")
        elif _needs(members[kind], related, "field"):
            check_field_name(related["field"], fields)


def _check_custom(node: Node, keys: Keys, _fields: Fields) -> None:
    if _needs(node, keys, "validator"):
        expression(keys["validator"])


def _check_script(node: Node, keys: Keys, _fields: Fields) -> None:
    if _needs(node, keys, "condition"):
        expression(keys["condition"])


def _check_format(node: Node, keys: Keys, fields: Fields) -> None:
    if not _needs(node, keys, "field"):
        return
    check_field_name(keys["field"], fields)
    if "regex" in keys:
        check_pattern(keys["regex"])
    elif "format" in keys:
        keys["format"].choice(("email", "url", "phone", "json", "uuid", "date", "datetime"))
    else:
        node.fail("rule_incomplete", 'a format rule needs "regex" or "format"')


def _check_json_schema(node: Node, keys: Keys, fields: Fields) -> None:
    if _needs(node, keys, "field", "schema"):
        check_field_name(keys["field"], fields)
        check_json_schema(keys["schema"])


_CHECKS: dict[str, Callable[[Node, Keys, Fields], None]] = {
    "field": _check_field,
    "cross_field": _check_cross_field,
    "conditional": _check_conditional,
    "state_machine": _check_state_machine,
    "unique": _check_unique,
    "business_rule": _check_business_rule,
    "dependency": _check_dependency,
    "custom": _check_custom,
    "script": _check_script,
    "format": _check_format,
    "json_schema": _check_json_schema,
}


def rule_nodes(node: Node) -> list[Node]:
    """The rules under `validation` of an object, in a rule file, or in a bare list."""
    if node.is_mapping:
        members = node.entries()
        for name, member in members.items():
            if name not in ("rules", "name", "object", "description", "ai_context"):
                message = f'`validation` has no key "{name}"'
                member.fail("unknown_key", message, near=name, among=("rules",))
        return members["rules"].elements() if "rules" in members else []
    return node.elements()
