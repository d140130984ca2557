"""The types of validation rules, each compiled to a function that says what fails.

A body answers a message, or True, when the rule fails, and False when it holds.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from objectql.kernel.checks import is_email, is_phone, is_url
from objectql.kernel.json_schema import unsupported_keyword, violation
from objectql.kernel.predicates import (
    PredicateCompiler,
    is_blank,
    is_equal,
    to_filter,
)
from objectql.kernel.situation import Situation, read
from objectql.metadata.pattern import compile_pattern
from objectql.values import canonical_date, canonical_instant

Lookup: TypeAlias = "Callable[[str, Mapping[str, Any]], Awaitable[list[dict[str, Any]]]]"
"""Rows of an object (of the same tenant, whoever asks) that match a filter in object form.

The first 100 are enough. An empty object name means the object that the rule belongs to.
"""

Verdict: TypeAlias = "str | bool"
Rule: TypeAlias = "Mapping[str, Any]"


def _rule_violation(_situation: Situation) -> str:
    return "rule_violation"


def _holds(_situation: Situation) -> Verdict:
    return False


@dataclass(frozen=True, slots=True)
class RuleBody:
    """What a rule checks on its own and, if that holds, with the help of a look-up."""

    check: Callable[[Situation], Verdict]
    check_related: Callable[[Situation, Lookup], Awaitable[Verdict]] | None = None
    code: Callable[[Situation], str] = _rule_violation
    fields: tuple[str, ...] = ()


def compile_body(rule: Rule, compiler: PredicateCompiler) -> RuleBody:
    """The body of a rule whose grammar has been checked.

    Raises:
        FormulaError: an expression in it has no meaning.
        NotImplementedError: it needs another part that is not there; the text says which.

    """
    return _BODIES[rule["type"]](rule, compiler)


def _condition(rule: Rule, compiler: PredicateCompiler) -> RuleBody:
    """`field` and `cross_field`: one condition, nested under `rule` or flat."""
    condition = rule["rule"] if "rule" in rule else _flat(rule)
    holds = compiler.condition(condition)
    named = cast("Mapping[str, Any]", condition).get("field")
    return RuleBody(lambda s: not holds(s), fields=(str(named),) if named else ())


def _flat(rule: Rule) -> dict[str, Any]:
    return {k: rule[k] for k in ("field", "operator", "value", "compare_to") if k in rule}


def _conditional(rule: Rule, compiler: PredicateCompiler) -> RuleBody:
    if "when" not in rule:
        when, then = compiler.condition(rule["condition"]), compiler.condition(rule["rule"])
        return RuleBody(lambda s: when(s) and not then(s))
    when = compiler.condition(rule["when"])
    then_fails = _nested(rule["then"], compiler)
    else_fails = _nested(rule["otherwise"], compiler) if "otherwise" in rule else _holds
    return RuleBody(lambda s: then_fails(s) if when(s) else else_fails(s))


def _nested(part: Any, compiler: PredicateCompiler) -> Callable[[Situation], Verdict]:
    """A nested rule or condition, as what fails."""
    if isinstance(part, Mapping) and "type" in part:
        inner = cast("Rule", part)
        body = compile_body(inner, compiler)
        if body.check_related is not None:
            raise NotImplementedError(f"a nested {inner['type']} rule cannot look at other records")
        message = inner.get("message")
        return lambda s: body.check(s) and (message if isinstance(message, str) else True)
    holds = compiler.condition(part)
    return lambda s: not holds(s)


def _state_machine(rule: Rule, compiler: PredicateCompiler) -> RuleBody:
    field = str(rule["field"])
    allowed = {state: _next(states) for state, states in rule["transitions"].items()}
    initial = rule.get("initial_states")
    guards = {
        edge: compiler.condition(condition)
        for edge, condition in _mapping(rule.get("transition_conditions")).items()
    }

    def check(situation: Situation) -> Verdict:
        new = read(situation.record, field)
        if situation.operation == "create":
            return initial is not None and new is not None and str(new) not in initial
        old = read(situation.previous, field)
        if old is None or is_equal(old, new):
            return False
        if str(new) not in allowed.get(str(old), ()):
            return True
        guard = guards.get(f"{old}_to_{new}") or guards.get(f"{old}->{new}") or guards.get(str(new))
        return guard is not None and not guard(situation)

    def code(situation: Situation) -> str:
        is_create = situation.operation == "create"
        return "invalid_initial_state" if is_create else "invalid_transition"

    return RuleBody(check, code=code, fields=(field,))


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value or {})


def _next(states: Any) -> frozenset[str]:
    if isinstance(states, Mapping):
        states = cast("Mapping[str, Any]", states).get("allowed_next") or ()
    return frozenset(str(state) for state in states or ())


def _unique(rule: Rule, compiler: PredicateCompiler) -> RuleBody:
    fields = tuple(rule.get("fields") or (rule["field"],))
    sensitive = rule.get("case_sensitive", True)
    scope = rule.get("scope")
    in_scope = compiler.condition(scope) if scope else None

    async def check_related(situation: Situation, lookup: Lookup) -> Verdict:
        values = {name: read(situation.record, name) for name in fields}
        if any(is_blank(value) for value in values.values()):
            return False
        if in_scope is not None and not in_scope(situation):
            return False
        parts: list[dict[str, Any]] = [
            {name: {"$icontains": v} if isinstance(v, str) and not sensitive else {"$eq": v}}
            for name, v in values.items()
        ]
        own = situation.record.get("id") or situation.record.get("_id")
        if situation.operation == "update" and own is not None:
            parts.append({"id": {"$ne": own}})
        if scope:
            parts.append(to_filter(scope, situation))
        rows = await lookup("", {"$and": parts})
        return any(
            all(_same(row.get(name), v, sensitive=sensitive) for name, v in values.items())
            for row in rows
        )

    return RuleBody(_holds, check_related, lambda _s: "duplicate_value", fields)


def _same(left: Any, right: Any, *, sensitive: bool) -> bool:
    if sensitive or not isinstance(left, str) or not isinstance(right, str):
        return is_equal(left, right)
    return left.casefold() == right.casefold()


def _business_rule(rule: Rule, compiler: PredicateCompiler) -> RuleBody:
    constraint = cast("Mapping[str, Any]", rule["constraint"])
    conditions = {k: v for k, v in constraint.items() if k in _CONSTRAINT_CONDITIONS}
    holds = compiler.condition(conditions) if conditions else None
    when = compiler.condition(constraint["if_field"]) if "if_field" in constraint else None
    then = [compiler.condition(part) for part in constraint.get("then_require", ())]
    relationships = cast("Mapping[str, Any]", constraint.get("relationships") or {})
    related = [_relationship(part, compiler) for part in relationships.values()]

    def check(situation: Situation) -> Verdict:
        if holds is not None and not holds(situation):
            return True
        return when is not None and when(situation) and not all(part(situation) for part in then)

    async def check_related(situation: Situation, lookup: Lookup) -> Verdict:
        for fails in related:
            if await fails(situation, lookup):
                return True
        return False

    return RuleBody(check, check_related if related else None)


_CONSTRAINT_CONDITIONS = ("expression", "all_of", "any_of", "none_of")


def _relationship(
    part: Mapping[str, Any], compiler: PredicateCompiler
) -> Callable[[Situation, Lookup], Awaitable[bool]]:
    """Whether the record that `via` points to breaks `validate`, a condition on it."""
    target, via = str(part["object"]), str(part["via"])
    condition = part.get("validate")
    if condition is None and "field" in part:
        condition = {"field": part["field"], "operator": "not_empty"}
    if isinstance(condition, str):
        holds = compiler.of(target).expression(condition)
    else:
        holds = compiler.of(target).condition(condition) if condition else None

    async def fails(situation: Situation, lookup: Lookup) -> bool:
        record_id = read(situation.record, via)
        if is_blank(record_id):
            return False
        rows = await lookup(target, {"id": record_id})
        return not rows or (holds is not None and not holds(situation._replace(record=rows[0])))

    return fails


def _dependency(rule: Rule, _compiler: PredicateCompiler) -> RuleBody:
    condition = cast("Mapping[str, Any]", rule["condition"])
    related = cast("Mapping[str, Any] | None", condition.get("has_related"))
    looked_up = cast("Mapping[str, Any] | None", condition.get("lookup"))

    async def check_related(situation: Situation, lookup: Lookup) -> Verdict:
        if related is not None:
            own = situation.record.get("id")
            link = {str(related["relation_field"]): own}
            if own is None or not await lookup(related["object"], _with(link, related, situation)):
                return True
        if looked_up is not None:
            record_id = read(situation.record, str(looked_up["field"]))
            where = _with({"id": record_id}, looked_up, situation)
            return is_blank(record_id) or not await lookup(looked_up["object"], where)
        return False

    if looked_up is not None and "object" not in looked_up:
        raise NotImplementedError("a lookup dependency names the object that it looks at")
    return RuleBody(_holds, check_related)


def _with(where: dict[str, Any], part: Mapping[str, Any], situation: Situation) -> dict[str, Any]:
    given = part.get("filter")
    return {"$and": [where, to_filter(given, situation)]} if given else where


def _custom(rule: Rule, compiler: PredicateCompiler) -> RuleBody:
    holds = compiler.expression(str(rule["validator"]))
    return RuleBody(lambda s: not holds(s))


def _script(rule: Rule, compiler: PredicateCompiler) -> RuleBody:
    """The other polarity: a true condition is a violation."""
    return RuleBody(compiler.expression(str(rule["condition"])))


def _format(rule: Rule, _compiler: PredicateCompiler) -> RuleBody:
    field = str(rule["field"])
    if "regex" in rule:
        test: Callable[[str], object] = compile_pattern(rule["regex"])
    else:
        test = _FORMATS[rule["format"]]

    def check(situation: Situation) -> Verdict:
        value = read(situation.record, field)
        if is_blank(value):
            return False
        try:
            return not isinstance(value, str) or not test(value)
        except ValueError:
            return True

    return RuleBody(check, code=lambda _s: "invalid_format", fields=(field,))


def _is_json(text: str) -> bool:
    json.loads(text)
    return True


_FORMATS: dict[str, Callable[[str], object]] = {
    "email": is_email,
    "phone": is_phone,
    "url": lambda text: is_url(text, ("http", "https")),
    "json": _is_json,
    "uuid": uuid.UUID,
    "date": canonical_date,
    "datetime": canonical_instant,
}


def _json_schema(rule: Rule, _compiler: PredicateCompiler) -> RuleBody:
    field, schema = str(rule["field"]), cast("Mapping[str, Any]", rule["schema"])
    unknown = unsupported_keyword(schema)
    if unknown is not None:
        raise NotImplementedError(f'the JSON Schema keyword "{unknown}" is not supported')

    def check(situation: Situation) -> Verdict:
        value = read(situation.record, field)
        return False if value is None else violation(schema, value, field) or False

    return RuleBody(check, code=lambda _s: "json_schema_violation", fields=(field,))


_BODIES: dict[str, Callable[[Rule, PredicateCompiler], RuleBody]] = {
    "field": _condition,
    "cross_field": _condition,
    "conditional": _conditional,
    "state_machine": _state_machine,
    "unique": _unique,
    "business_rule": _business_rule,
    "dependency": _dependency,
    "custom": _custom,
    "script": _script,
    "format": _format,
    "json_schema": _json_schema,
}
__all__ = ["Lookup", "RuleBody", "compile_body"]
