from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from objectql.context import Actor
from objectql.kernel.rules import RuleReport, RuleSet, compile_rules
from objectql.metadata.document import Document
from objectql.metadata.loader import build_snapshot

ACTOR = Actor(id="u1")
FIELDS = {
    "status": {"options": ["draft", "sent", "paid"]},
    "amount": {"type": "currency"},
    "start": {"type": "datetime"},
    "code": {},
    "customer": {},
    "data": {"type": "json"},
}


def rules(*given: dict[str, Any], **more: Any) -> RuleSet:
    content = {"fields": FIELDS, "validations": list(given), **more}
    return compile_rules(build_snapshot([Document("t", "object", "o", content)], 1).object("o"))


async def check(target: RuleSet, record: dict[str, Any], **more: Any) -> RuleReport:
    given: dict[str, Any] = {
        "operation": "create",
        "now": "2026-05-01T00:00:00.000Z",
        "actor": ACTOR,
    }
    return await target.check(record, **{**given, **more})


async def failed(target: RuleSet, record: dict[str, Any], **more: Any) -> list[str]:
    return [failure.rule for failure in (await check(target, record, **more)).failures]


@pytest.mark.parametrize(
    ("condition", "record", "holds"),
    [
        ({"field": "amount", "operator": ">=", "value": 0.1}, {"amount": 0.1}, True),
        ({"field": "amount", "operator": ">", "value": 0}, {}, False),
        ({"field": "amount", "operator": "!=", "value": 5}, {}, True),
        ({"field": "amount", "operator": "between", "value": [1, 3]}, {"amount": 3}, True),
        ({"field": "code", "operator": "in", "value": ["a", "b"]}, {"code": "b"}, True),
        ({"field": "code", "operator": "not_in", "value": ["a"]}, {}, True),
        ({"field": "code", "operator": "starts_with", "value": "ab"}, {"code": "abc"}, True),
        ({"field": "code", "operator": "contains", "value": "B"}, {"code": "abc"}, False),
        ({"field": "code", "operator": "not_empty"}, {"code": ""}, False),
        ({"field": "code", "operator": "=", "value": "$current_user.id"}, {"code": "u1"}, True),
        (
            {"field": "start", "operator": "<=", "value": "2026-01-02"},
            {"start": "2026-01-02T00:00:00.000Z"},
            True,
        ),
        ({"none_of": [{"field": "code", "operator": "is_null"}]}, {"code": "x"}, True),
        ({"any_of": ["code", "customer"]}, {"customer": "c"}, True),
        (
            {"if": {"field": "code", "operator": "=", "value": "a"}, "then": "customer"},
            {"code": "a"},
            False,
        ),
    ],
)
async def test_condition_decides_as_documented(
    condition: dict[str, Any], record: dict[str, Any], holds: bool
) -> None:
    target = rules({"name": "r", "type": "cross_field", "rule": condition})
    assert (await failed(target, record) == []) is holds


async def test_all_failing_rules_are_collected_by_priority() -> None:
    target = rules(
        {"name": "later", "type": "format", "field": "code", "regex": "^[A-Z]+$", "priority": 200},
        {"name": "soft", "type": "field", "severity": "warning",
         "rule": {"field": "amount", "operator": "<", "value": 10}},
        {"name": "first", "type": "field", "priority": 1, "error_code": "TOO_BIG",
         "message": {"de": "{{amount}} ist zu viel", "en": "{{amount}} is too much"},
         "rule": {"field": "amount", "operator": "<", "value": 5}},
    )  # fmt: skip
    report = await check(target, {"code": "x", "amount": 12}, languages=("de-AT",))
    assert [f.rule for f in report.failures] == ["first", "soft", "later"]
    assert next((i.code, i.message) for i in report.errors) == ("TOO_BIG", "12 ist zu viel")
    assert [i.path for i in report.warnings] == ["amount"]


async def test_triggers_changed_fields_bulk_and_active_choose_the_rules() -> None:
    fails = {"type": "field", "rule": {"field": "code", "operator": "not_empty"}}
    target = rules(
        {"name": "on_delete", **fails, "trigger": ["delete"]},
        {"name": "of_code", **fails, "fields": ["code"]},
        {"name": "not_bulk", **fails, "skip_bulk": True},
        {"name": "off", **fails, "active": False},
    )
    assert await failed(target, {}, operation="delete") == ["on_delete"]
    assert await failed(target, {}, operation="update", changed={"amount"}) == ["not_bulk"]
    assert await failed(target, {}, bulk=True) == ["of_code"]
    assert target.applies_to("delete")


async def test_state_machine_rule_names_the_states() -> None:
    target = rules(
        {"name": "flow", "type": "state_machine", "field": "status", "initial_states": ["draft"],
         "transitions": {"draft": ["sent"]}, "message": "{{old_status}} to {{new_status}} {{no}}"}
    )  # fmt: skip
    report = await check(
        target, {"status": "paid"}, operation="update", previous={"status": "draft"}
    )
    assert [(i.code, i.message) for i in report.errors] == [
        ("invalid_transition", "draft to paid {{no}}")
    ]
    assert (await check(target, {"status": "sent"})).errors[0].code == "invalid_initial_state"
    assert await failed(target, {"status": "draft"}) == []


async def test_edges_of_the_objects_state_machine_are_enforced() -> None:
    states = {
        "draft": {"on": {"SEND": "sent"}},
        "sent": {"on": {"PAY": {"target": "paid"}}},
        "paid": None,
    }
    target = rules(stateMachine={"states": states})
    previous = {"status": "draft"}
    assert await failed(target, {"status": "sent"}, operation="update", previous=previous) == []
    report = await check(target, {"status": "paid"}, operation="update", previous=previous)
    assert report.errors[0].message == "draft cannot become paid"


async def test_unique_asks_for_other_rows_of_the_same_values() -> None:
    asked: list[Any] = []

    async def lookup(object: str, where: Mapping[str, Any]) -> list[dict[str, Any]]:
        asked.append((object, where))
        return [{"id": "2", "code": "ABC", "customer": "c"}]

    target = rules(
        {"name": "u", "type": "unique", "fields": ["code", "customer"], "case_sensitive": False}
    )
    record = {"id": "1", "code": "abc", "customer": "c"}
    assert await failed(target, record, operation="update", lookup=lookup) == ["u"]
    assert asked == [
        (
            "",
            {
                "$and": [
                    {"code": {"$icontains": "abc"}},
                    {"customer": {"$icontains": "c"}},
                    {"id": {"$ne": "1"}},
                ]
            },
        )
    ]
    assert await failed(target, {"code": None, "customer": "c"}, lookup=lookup) == []


async def test_dependency_and_relationship_need_the_related_record() -> None:
    async def lookup(object: str, where: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [{"id": "c", "blocked": True}] if object == "customer" else []

    target = rules(
        {"name": "lines", "type": "dependency",
         "condition": {"has_related": {"object": "line", "relation_field": "o"}}},
        {"name": "customer", "type": "business_rule", "constraint": {"relationships": {"c": {
            "object": "customer", "via": "customer",
            "validate": {"field": "blocked", "operator": "!=", "value": True}}}}},
    )  # fmt: skip
    assert await failed(target, {"id": "1", "customer": "c"}, lookup=lookup) == [
        "lines",
        "customer",
    ]


async def test_json_schema_names_what_breaks_it() -> None:
    schema = {
        "type": "object",
        "required": ["a"],
        "properties": {"a": {"type": "array", "items": {"maximum": 3}}},
    }
    target = rules({"name": "s", "type": "json_schema", "field": "data", "schema": schema})
    assert await failed(target, {"data": {"a": [1, 2]}}) == []
    report = await check(target, {"data": {"a": [1, 4]}})
    assert report.failures[0].message == "data.a.1 is above 3"
    assert (await check(target, {"data": {}})).failures[0].code == "json_schema_violation"


async def test_rule_that_cannot_be_evaluated_is_listed_and_fails() -> None:
    target = rules(
        {"name": "x", "type": "custom", "validator": "record.nothing > 0"},
        {"name": "y", "type": "json_schema", "field": "data", "schema": {"oneOf": []}},
    )
    assert [(i.code, i.path) for i in target.unsupported] == [
        ("formula_invalid", "o.validation.x"),
        ("unsupported_rule", "o.validation.y"),
    ]
    assert await failed(target, {"amount": 1, "data": {}}) == ["x", "y"]


async def test_script_is_a_violation_when_true_and_custom_when_false() -> None:
    target = rules(
        {"name": "script", "type": "script", "condition": "amount > 1"},
        {"name": "custom", "type": "custom", "validator": "amount > 1 && previous.amount == null"},
    )
    assert await failed(target, {"amount": 2}) == ["script"]
    assert await failed(target, {"amount": 1}) == ["custom"]


async def test_rule_whose_expression_has_no_meaning_always_fails() -> None:
    target = rules(
        {"name": "script", "type": "script", "condition": "no_such_field"},
        {"name": "none", "type": "business_rule", "constraint": {"none_of": [{"expression": "?"}]}},
    )
    assert await failed(target, {}) == ["script", "none"]
    assert [issue.path for issue in target.unsupported] == [
        "o.validation.script",
        "o.validation.none",
    ]


@pytest.mark.parametrize("claim", [5, "5", Decimal(5), 5.0, True, [5], {"a": 5}, None])
async def test_a_claim_is_a_text_to_formulas_whatever_tokens_say(claim: Any) -> None:
    holds = [str(claim) == "5", claim in (5, 5.0, "5"), claim not in ([5], {"a": 5}, None)]
    validators = [
        "code == $current_user.level",
        "$current_user.level >= 3",
        "($current_user.level + '') != ''",
    ]
    target = rules(
        *({"name": str(at), "type": "custom", "validator": v} for at, v in enumerate(validators))
    )
    actor = Actor(id="u1", claims={"level": claim})
    failures = await failed(target, {"code": "5"}, actor=actor)
    assert failures == [str(at) for at, each in enumerate(holds) if not each]


@pytest.mark.parametrize(
    ("validator", "reason"),
    [
        ("double == 10", '"double" is computed when it is read, and has no value here'),
        ("seller.name == 'x'", '"seller.name": only fields of the record itself are here'),
    ],
)
def test_a_rule_over_what_has_to_be_read_is_told_of(validator: str, reason: str) -> None:
    fields = {
        "a": {"type": "number"},
        "double": {"type": "formula", "data_type": "number", "expression": "a * 2"},
        "seller": {"type": "lookup", "reference_to": "o"},
    }
    rule = {"name": "r", "type": "custom", "validator": validator}
    (issue,) = rules(rule, fields=fields).unsupported
    assert (issue.path, issue.code) == ("o.validation.r", "formula_invalid")
    assert reason in issue.message
