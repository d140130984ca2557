"""What expresses nothing is found when it is published, and not by the first write."""

from __future__ import annotations

from objectql.kernel.meanings import check_meanings
from objectql.metadata.document import Document
from objectql.metadata.loader import build_snapshot


def test_broken_rules_and_defaults_are_told_of_together() -> None:
    content = {
        "fields": {
            "amount": {"type": "number"},
            "tax": {"type": "number", "defaultValue": {"expression": "nosuch + 1"}},
        },
        "validations": [
            {"name": "cut", "type": "custom", "validator": "amuont > "},
            {"name": "odd", "type": "script", "condition": "nosuch"},
        ],
    }
    issues = check_meanings(build_snapshot([Document("t", "object", "o", content)], 1))
    assert [(issue.path, issue.code) for issue in issues] == [
        ("o.validation.cut", "formula_invalid"),
        ("o.validation.odd", "formula_invalid"),
        ("o.fields.tax.defaultValue", "unsupported_default"),
    ]
