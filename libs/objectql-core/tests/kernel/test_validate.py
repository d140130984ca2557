from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from objectql.context import Actor
from objectql.errors import MetadataInvalid, PermissionDenied
from objectql.kernel.passwords import hash_password, verify_password
from objectql.kernel.validate import Checked, RecordValidator, compile_validator
from objectql.metadata.document import Document
from objectql.metadata.loader import build_snapshot

NOW = "2026-01-02T03:04:05.678Z"
ACTOR = Actor(id="u7", claims={"region": "north"})


def validator(**fields: dict[str, Any]) -> RecordValidator:
    document = Document("test", "object", "thing", {"fields": fields})
    return compile_validator(build_snapshot([document], 1).object("thing"))


def create(target: RecordValidator, **data: Any) -> Checked:
    return target.check_create(data, now=NOW, actor=ACTOR)


def problems(checked: Checked) -> list[tuple[str, str]]:
    return [(issue.path, issue.code) for issue in checked.issues]


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        ({"type": "text"}, " as is ", " as is "),
        ({"type": "integer"}, 3.0, 3),
        ({"type": "number", "scale": 0}, 2.5, 3),
        ({"type": "number"}, 1e300, 1e300),
        ({"type": "currency"}, 1234.565, Decimal("1234.57")),
        ({"type": "number", "scale": 3}, 0.1, Decimal("0.100")),
        ({"type": "date"}, "2024-02-29", "2024-02-29"),
        ({"type": "datetime"}, "2024-03-15T16:30:00+02:00", "2024-03-15T14:30:00.000Z"),
        ({"type": "time"}, "14:30", "14:30:00"),
        ({"type": "select", "options": [1, 2]}, 2, "2"),
        ({"type": "multiselect", "options": ["a", "b"]}, ["b"], ["b"]),
        ({"type": "tags"}, ["x", "y"], ["x", "y"]),
        ({"type": "location"}, {"lat": 1, "lng": -2.5}, {"lat": 1, "lng": -2.5}),
        ({"type": "vector", "dimension": 2}, [0.5, 1], [0.5, 1]),
        ({"type": "json"}, [1, {"a": None}], [1, {"a": None}]),
        ({"type": "file"}, "file_1", "file_1"),
        ({"type": "image", "multiple": True}, ["file_1"], ["file_1"]),
        ({"type": "number"}, "", None),
    ],
)
def test_accepted_value_is_kept_in_its_canonical_form(
    field: dict[str, Any], given: Any, kept: Any
) -> None:
    checked = create(validator(f=field), f=given)
    assert checked.issues == ()
    assert checked.values["f"] == kept
    assert type(checked.values["f"]) is type(kept)


REFUSED: list[tuple[dict[str, Any], Any, str, str]] = [
    ({"type": "text"}, 5, "f", "invalid_type"),
    ({"type": "text"}, "a\0b", "f", "invalid_value"),
    ({"type": "text"}, "\ud800", "f", "invalid_value"),
    ({"type": "number"}, "5", "f", "invalid_number"),
    ({"type": "number"}, True, "f", "invalid_number"),
    ({"type": "number"}, float("nan"), "f", "invalid_number"),
    ({"type": "number"}, 2**53 + 1, "f", "invalid_number"),
    ({"type": "integer"}, 1e300, "f", "max_value"),
    ({"type": "currency"}, 1e30, "f", "max_value"),
    ({"type": "rating", "max": 5}, 6, "f", "max_value"),
    ({"type": "rating"}, -1, "f", "min_value"),
    ({"type": "boolean"}, "true", "f", "invalid_boolean"),
    ({"type": "date"}, "2026-02-30", "f", "invalid_date"),
    ({"type": "datetime"}, "2026-02-01T10:00:00", "f", "invalid_date"),
    ({"type": "time"}, "25:00", "f", "invalid_time"),
    ({"type": "email"}, "x@y", "f", "invalid_email"),
    ({"type": "url"}, "javascript:alert(1)", "f", "invalid_url"),
    ({"type": "phone"}, "call me", "f", "invalid_phone"),
    ({"type": "color"}, "red", "f", "invalid_format"),
    ({"options": ["Open"]}, "open", "f", "invalid_option"),
    ({"type": "multiselect", "options": ["a"]}, "a", "f", "invalid_type"),
    ({"type": "multiselect", "options": ["a"]}, ["a", "x"], "f.1", "invalid_option"),
    ({"type": "lookup", "reference": "thing"}, 5, "f", "invalid_type"),
    ({"type": "lookup", "reference": "thing"}, "a\nb", "f", "invalid_value"),
    ({"type": "location"}, {"lat": 91, "lng": 0}, "f.lat", "invalid_value"),
    ({"type": "location"}, {"lat": 1}, "f.lng", "invalid_number"),
    ({"type": "vector", "dimension": 3}, [1, 2], "f", "invalid_shape"),
    ({"type": "object"}, [1], "f", "invalid_shape"),
    ({"type": "json"}, {"a": [2**60]}, "f.a.0", "invalid_json"),
    ({"type": "grid"}, [{}, 3], "f.1", "invalid_shape"),
    (
        {"type": "grid", "fields": {"x": {"type": "number"}}},
        [{"x": 1}, {"x": "1"}],
        "f.1.x",
        "invalid_number",
    ),
    ({"type": "object", "fields": {"x": {}}}, {"y": 1}, "f.y", "unknown_field"),
]


@pytest.mark.parametrize(("field", "given", "path", "code"), REFUSED)
def test_refused_value_is_reported_at_its_path(
    field: dict[str, Any], given: Any, path: str, code: str
) -> None:
    assert problems(create(validator(f=field), f=given)) == [(path, code)]


def test_deep_json_is_refused_before_it_exhausts_the_stack() -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    assert [code for _, code in problems(create(validator(f={"type": "json"}), f=deep))] == [
        "invalid_json"
    ]


def test_all_problems_are_reported_at_once_with_suggestions() -> None:
    target = validator(
        amount={"type": "number", "required": True}, code={"minLength": 5, "pattern": "^[A-Z]+$"}
    )
    checked = create(target, amuont=1, code="ab")
    assert problems(checked) == [
        ("amuont", "unknown_field"),
        ("code", "min_length"),
        ("code", "invalid_format"),
        ("amount", "required"),
    ]
    assert 'did you mean "amount"?' in checked.issues[0].message


def test_a_wrong_required_value_is_one_problem() -> None:
    assert problems(create(validator(n={"type": "number", "required": True}), n="x")) == [
        ("n", "invalid_number")
    ]


def test_update_checks_only_what_is_there() -> None:
    target = validator(a={"required": True}, b={"type": "number"})
    assert target.check_update({"b": 1}) == Checked({"b": 1}, (), (), {})
    assert problems(target.check_update({"a": None})) == [("a", "required")]
    assert problems(target.check_update({"a": ""})) == [("a", "required")]


def test_system_and_computed_keys_are_dropped_and_reported() -> None:
    target = validator(a={}, n={"type": "autonumber"}, twice={"expression": "a + a"})
    data = {"a": "x", "created_at": NOW, "version": 9, "n": "1", "twice": "xx", "id": "mine"}
    created = target.check_create(data, now=NOW, actor=ACTOR)
    assert created.values == {"a": "x", "id": "mine"}
    assert created.dropped == ("created_at", "version", "n", "twice")
    assert target.check_update(data).dropped == ("created_at", "version", "n", "twice", "id")


def test_tenant_is_no_field() -> None:
    assert problems(create(validator(a={}), tenant_id="other")) == [("tenant_id", "unknown_field")]


def test_readonly_is_taken_on_create_and_dropped_on_update() -> None:
    target = validator(a={"readonly": True})
    assert create(target, a="x").values == {"a": "x"}
    assert target.check_update({"a": "y"}, {"a": "x"}) == Checked({}, ("a",), (), {})
    assert target.check_update({"a": "x"}, {"a": "x"}).dropped == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ({"defaultValue": "x"}, "x"),
        ({"type": "datetime", "defaultValue": "$now"}, NOW),
        ({"type": "datetime", "defaultValue": "NOW()"}, NOW),
        ({"type": "datetime", "defaultValue": "$today"}, "2026-01-02T00:00:00.000Z"),
        ({"type": "date", "defaultValue": "$today"}, "2026-01-02"),
        ({"type": "time", "defaultValue": "$now"}, "03:04:05"),
        ({"type": "user", "defaultValue": "current_user"}, "u7"),
        ({"defaultValue": "$current_user.id"}, "u7"),
        ({"defaultValue": "$current_user.region"}, "north"),
        ({"options": ["a", {"value": "b", "default": True}]}, "b"),
        ({"type": "multiselect", "options": ["a", {"value": "b", "default": True}]}, ["b"]),
        ({"type": "currency", "defaultValue": 1}, Decimal("1.00")),
        ({"type": "datetime", "defaultValue": {"expression": "now()"}}, NOW),
    ],
)
def test_default_fills_an_absent_field(field: dict[str, Any], value: Any) -> None:
    assert create(validator(f=field)).values == {"f": value}


@pytest.mark.parametrize(
    ("field", "claim", "value"),
    [
        ({}, 5, "5"),
        ({}, True, "true"),
        ({}, {"a": 1}, None),
        ({}, "a\0b", None),
        ({"defaultValue": {"expression": "$current_user.c + '!'"}}, 5, "5!"),
        ({"defaultValue": {"expression": "$current_user.c + '!'"}}, ["x"], "!"),
    ],
)
def test_a_claim_becomes_what_the_field_keeps_or_nothing(
    field: dict[str, Any], claim: Any, value: Any
) -> None:
    target = validator(f={"defaultValue": "$current_user.c", **field})
    made = target.check_create({}, now=NOW, actor=Actor(id="u7", claims={"c": claim}))
    assert made == Checked({"f": value})


def test_default_does_not_replace_an_explicit_null() -> None:
    assert create(validator(f={"defaultValue": "x"}), f=None).values == {"f": None}


def test_default_lists_are_not_shared_between_records() -> None:
    target = validator(f={"type": "tags", "defaultValue": ["x"]})
    first, second = create(target).values["f"], create(target).values["f"]
    assert first == second
    assert first is not second


def test_default_that_has_no_meaning_is_refused() -> None:
    with pytest.raises(MetadataInvalid) as failure:
        validator(f={"type": "number", "defaultValue": {"expression": "1 + nothing"}})
    assert [issue.code for issue in failure.value.issues] == ["unsupported_default"]


def test_default_is_computed_of_what_was_given_and_of_earlier_defaults() -> None:
    target = validator(
        price={"type": "currency"},
        rate={"type": "number", "defaultValue": 0.2},
        tax={"type": "currency", "defaultValue": {"expression": "price * rate"}},
        label={"defaultValue": {"expression": "`${price} by ${$current_user.id}`"}},
        day={"type": "date", "defaultValue": {"expression": "addDays($today, 30)"}},
    )
    made = create(target, price=Decimal("10.05")).values
    assert made["tax"] == Decimal("2.01")
    assert made["label"] == f"10.05 by {ACTOR.id}"
    assert create(target, price=1, tax=5).values["tax"] == 5


@pytest.mark.parametrize(
    ("field", "formula", "code"),
    [
        ({"options": ["p", "q"]}, "t", "invalid_option"),
        ({"max_length": 3}, "t + t", "max_length"),
        ({"pattern": "^[0-9]+$"}, "t", "invalid_format"),
        ({"type": "email"}, "t", "invalid_email"),
        ({"type": "number", "max": 3}, "n", "max_value"),
        ({"type": "rating", "max": 5}, "n * 9", "max_value"),
        ({"type": "number", "scale": 0}, "n * 1e20", "max_value"),
    ],
)
def test_a_computed_default_is_checked_as_a_given_value_is(
    field: dict[str, Any], formula: str, code: str
) -> None:
    target = validator(
        t={}, n={"type": "number"}, f={"defaultValue": {"expression": formula}, **field}
    )
    assert problems(create(target, t="text", n=5)) == [("f", code)]
    with pytest.raises(PermissionDenied):
        target.check_create({"t": "text", "n": 5}, now=NOW, actor=ACTOR, hidden={"f"})


def test_a_computed_default_is_kept_as_a_given_value_is() -> None:
    target = validator(
        t={},
        secret={"type": "password", "defaultValue": {"expression": "t"}},
        stars={"type": "rating", "defaultValue": {"expression": "LEN(t)"}},
        choice={"options": ["text"], "defaultValue": {"expression": "t"}},
    )
    made = create(target, t="text")
    assert made.issues == ()
    assert verify_password("text", str(made.values.pop("secret")))
    assert made.values == {"t": "text", "stars": 4, "choice": "text"}
    assert create(target).values["choice"] is None


def test_increment_is_for_numbers_and_updates_only() -> None:
    target = validator(n={"type": "number"}, t={})
    assert target.check_update({"n": {"$inc": 2}}) == Checked({}, (), (), {"n": 2})
    assert problems(target.check_update({"t": {"$inc": 2}})) == [("t", "invalid_type")]
    assert problems(target.check_update({"n": {"$inc": "2"}})) == [("n", "invalid_number")]
    assert problems(create(target, n={"$inc": 2})) == [("n", "invalid_number")]


def test_password_is_hashed_and_verifies() -> None:
    stored = create(validator(pw={"type": "password", "minLength": 3}), pw="s3cret").values["pw"]
    assert isinstance(stored, str)
    assert "s3cret" not in stored
    assert verify_password("s3cret", stored)
    assert not verify_password("S3cret", stored)
    assert not verify_password("s3cret", "plain")
    assert hash_password("s3cret") != stored


def test_a_hundred_thousand_unknown_keys_are_told_in_part_and_at_once() -> None:
    data = {f"nam{n}": 0 for n in range(100_000)}
    target = validator(name={"type": "text"})
    issues = target.check_update(data).issues
    assert len(issues) == 100
    assert [i.message.count("did you mean") for i in issues[:10]] == [1] * 5 + [0] * 5
    shown = target.check_update({"x" * 1_000_000: 0}).issues[0]
    assert (len(shown.path), len(shown.message) < 200) == (100, True)
