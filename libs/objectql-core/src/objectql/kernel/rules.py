"""Validation rules of an object, compiled once; all that fail are reported together.

Rules that look at other records ask an injected look-up, which the kernel runs in the
transaction of the write. A rule that cannot be evaluated fails: it never passes silently.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

from objectql.context import Actor
from objectql.errors import Issue
from objectql.formula.names import FindObject
from objectql.formula.syntax import FormulaError
from objectql.kernel.formulas import RecordFormulas
from objectql.kernel.predicates import Predicate, PredicateCompiler
from objectql.kernel.rule_types import Lookup, RuleBody, compile_body
from objectql.kernel.situation import Situation, read
from objectql.metadata.model import ObjectDef

__all__ = ["Lookup", "RuleFailure", "RuleReport", "RuleSet", "compile_rules"]

_DEFAULT_TRIGGERS = ("create", "update")
_TEMPLATE = re.compile(r"\{\{\s*([A-Za-z0-9_.]+)\s*\}\}")


class RuleFailure(NamedTuple):
    """One rule that failed. `code` is the rule's `error_code`, or the code of its type."""

    rule: str
    code: str
    message: str
    severity: str
    fields: tuple[str, ...]
    error_code: str | None = None

    @property
    def issue(self) -> Issue:
        path = self.fields[0] if self.fields else ""
        return Issue(path=path, code=self.code, message=self.message)


class RuleReport(NamedTuple):
    """All failures of one write; only those of severity `error` refuse it."""

    failures: tuple[RuleFailure, ...] = ()

    @property
    def errors(self) -> tuple[Issue, ...]:
        return tuple(f.issue for f in self.failures if f.severity == "error")

    @property
    def warnings(self) -> tuple[Issue, ...]:
        return tuple(f.issue for f in self.failures if f.severity != "error")


PASSED = RuleReport()
NO_MEANING = "formula_invalid"
"""The code of an expression that means nothing over the fields that there are."""


class _Rule(NamedTuple):
    name: str
    body: RuleBody
    triggers: frozenset[str]
    fields: tuple[str, ...]
    run_on: frozenset[str]
    applies: Predicate | None
    severity: str
    message: Any
    template: str | None
    error_code: str | None
    skip_bulk: bool


def compile_rules(object: ObjectDef, find: FindObject | None = None) -> RuleSet:
    """The rules of `object`, its state machines included; `find` knows the other objects.

    Rules that have no meaning, or need what is not there, are listed in `RuleSet.unsupported`, and
    fail.
    """
    rules: list[_Rule] = []
    unsupported: list[Issue] = []
    compiler = PredicateCompiler(RecordFormulas(object, find))
    for rule in (*object.validations, *_machine_rules(object)):
        if rule.get("active", True) is False:
            continue
        compiled, problem = _compile(rule, compiler)
        rules.append(compiled)
        if problem is not None:
            is_wrong = isinstance(problem, FormulaError)
            code = NO_MEANING if is_wrong else "unsupported_rule"
            path = f"{object.name}.validation.{compiled.name}"
            unsupported.append(Issue(path=path, code=code, message=str(problem)))
    return RuleSet(tuple(rules), tuple(unsupported))


class RuleSet:
    """The compiled rules of one object."""

    def __init__(self, rules: tuple[_Rule, ...], unsupported: tuple[Issue, ...]) -> None:
        self.unsupported = unsupported
        self._by_operation = {
            operation: tuple(rule for rule in rules if operation in rule.triggers)
            for operation in ("create", "update", "delete")
        }

    def applies_to(self, operation: str) -> bool:
        """Whether any rule runs on `operation`."""
        return bool(self._by_operation[operation])

    async def check(
        self,
        record: Mapping[str, Any],
        *,
        operation: str,
        now: str,
        actor: Actor,
        previous: Mapping[str, Any] | None = None,
        changed: Collection[str] | None = None,
        lookup: Lookup | None = None,
        bulk: bool = False,
        languages: Sequence[str] = ("en",),
    ) -> RuleReport:
        """What fails for `record`, the whole row as it will be after the write.

        `previous` is the row before; `changed` names the fields that the write changes (None:
        all). Without `lookup`, rules about other records pass. `languages` choose the messages.
        """
        rules = self._by_operation[operation]
        if not rules:
            return PASSED
        situation = Situation(record, previous or {}, operation, now, actor)
        failures: list[RuleFailure] = []
        for rule in rules:
            if bulk and rule.skip_bulk:
                continue
            is_partial = operation == "update" and changed is not None
            if is_partial and rule.run_on and rule.run_on.isdisjoint(changed or ()):
                continue
            if rule.applies is not None and not rule.applies(situation):
                continue
            failed = rule.body.check(situation)
            if not failed and rule.body.check_related is not None and lookup is not None:
                failed = await rule.body.check_related(situation, lookup)
            if failed:
                failures.append(_failure(rule, failed, situation, languages))
        return RuleReport(tuple(failures))


def _failure(
    rule: _Rule, failed: str | bool, situation: Situation, languages: Sequence[str]
) -> RuleFailure:
    text = rule.template or _in_language(rule.message, languages)
    if text is None:
        text = failed if isinstance(failed, str) else f"The rule {rule.name} is not met"
    return RuleFailure(
        rule.name,
        rule.error_code or rule.body.code(situation),
        render(text, situation),
        rule.severity,
        rule.fields,
        rule.error_code,
    )


def _in_language(message: Any, languages: Sequence[str]) -> str | None:
    """The text in the first of `languages` that there is, else English, else any."""
    if not isinstance(message, Mapping):
        return cast("str | None", message)
    texts = cast("Mapping[str, str]", message)
    for language in (*languages, "en"):
        for key in (language, language.split("-")[0]):
            if key in texts:
                return texts[key]
    return next(iter(texts.values()), None)


def render(text: str, situation: Situation) -> str:
    """`text` with `{{field}}`, `{{old_field}}` and `{{new_field}}` filled in; the rest stays."""

    def replace(match: re.Match[str]) -> str:
        path = match[1]
        value = read(situation.record, path)
        if value is None and path.startswith("old_"):
            value = read(situation.previous, path.removeprefix("old_"))
        if value is None and path.startswith("new_"):
            value = read(situation.record, path.removeprefix("new_"))
        return match[0] if value is None else str(value)

    return _TEMPLATE.sub(replace, text) if "{{" in text else text


def _compile(
    rule: Mapping[str, Any], compiler: PredicateCompiler
) -> tuple[_Rule, Exception | None]:
    """The rule, and why it cannot be evaluated."""
    problem: Exception | None = None
    applies: Predicate | None = None
    try:
        body = compile_body(rule, compiler)
        if "apply_when" in rule:
            applies = compiler.condition(rule["apply_when"])
    except FormulaError as exc:
        problem, body = exc, RuleBody(lambda _situation: True)
    except NotImplementedError as exc:
        problem = exc
        body = RuleBody(lambda _situation: "This rule cannot be evaluated here")
    fields = tuple(rule.get("fields") or ())
    named = fields or ((str(rule["field"]),) if "field" in rule else body.fields)
    compiled = _Rule(
        name=str(rule.get("name", "")),
        body=body,
        triggers=frozenset(rule.get("trigger") or _DEFAULT_TRIGGERS),
        fields=named,
        run_on=frozenset(fields) if rule["type"] != "unique" else frozenset(),
        applies=applies,
        severity=rule.get("severity", "error"),
        message=rule.get("message"),
        template=rule.get("error_message_template"),
        error_code=rule.get("error_code"),
        skip_bulk=bool(rule.get("skip_bulk")),
    )
    return compiled, problem


def _machine_rules(object: ObjectDef) -> list[dict[str, Any]]:
    """The edges of each flat state machine as a rule; guards and actions are the workflow's."""
    rules: list[dict[str, Any]] = []
    for field, machine in object.state_machines.items():
        states = cast("Mapping[str, Any]", machine["states"])
        if any(isinstance(state, Mapping) and "states" in state for state in states.values()):
            continue  # compound states have dotted names, which only the workflow resolves
        transitions = {name: _targets(state) for name, state in states.items()}
        rules.append(
            {
                "name": f"{field}_state_machine",
                "type": "state_machine",
                "field": field,
                "transitions": transitions,
                "message": f"{{{{old_{field}}}}} cannot become {{{{new_{field}}}}}",
            }
        )
    return rules


def _targets(state: Any) -> list[str]:
    edges = cast("Mapping[str, Any]", cast("dict[str, Any]", state or {}).get("on") or {})
    found: list[str] = []
    for edge in edges.values():
        for one in cast("list[Any]", edge) if isinstance(edge, list) else [edge]:
            target = cast("Mapping[str, Any]", one)["target"] if isinstance(one, Mapping) else one
            found.append(str(target).removeprefix("#"))
    return found
