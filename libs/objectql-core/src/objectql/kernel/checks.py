"""Checks of single values, one closure per field, built once.

A check takes a value that is neither null nor blank, its path and the list of problems; it
returns the canonical form (`objectql.values`), or None after adding what is wrong. The codes are
the field codes of the HTTP API.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

from objectql.errors import Issue
from objectql.ids import is_record_id
from objectql.kernel.passwords import hash_password
from objectql.metadata.model import FieldDef
from objectql.metadata.pattern import compile_pattern
from objectql.metadata.types import NUMERIC, Storage
from objectql.values import (
    MAX_SAFE_INTEGER,
    Value,
    canonical_date,
    canonical_instant,
    canonical_time,
)

Issues: TypeAlias = "list[Issue]"
Check: TypeAlias = "Callable[[Any, str, Issues], Value]"
Test: TypeAlias = "tuple[Callable[[Any], bool], str, str]"
"""A predicate that must hold, and the code and message of its failure."""

MAX_JSON_DEPTH = 32
_DEFAULT_SCALE = 2
_DEFAULT_PRECISION = 20

_EMAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+\Z")
_PHONE = re.compile(r"[0-9+\-() ]+\Z")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}\Z")
_FROM_ZERO = frozenset({"rating", "slider", "progress"})


def compile_check(field: FieldDef) -> Check:
    """The check of one value of `field`."""
    if field.storage is Storage.LIST:
        return _list_of(_scalar_check(field))
    if field.multiple and field.storage is Storage.JSON and field.type in _BY_TYPE:
        return _list_of(_BY_TYPE[field.type](field))
    return _scalar_check(field)


def _scalar_check(field: FieldDef) -> Check:
    if field.options and field.type != "tags":
        return _option(field)
    if field.type in _BY_TYPE:
        return _BY_TYPE[field.type](field)
    if field.reference is not None:
        return _record_id
    storage = field.info.storage
    if field.storage in NUMERIC:
        return _number(field)
    if storage is Storage.BOOLEAN:
        return _boolean
    if storage in _TEMPORAL:
        return _temporal(field, *_TEMPORAL[storage])
    return _text(field)


def _fail(issues: Issues, path: str, code: str, message: str) -> None:
    issues.append(Issue(path=path, code=code, message=message))


def _run(tests: tuple[Test, ...], value: Any, path: str, issues: Issues) -> None:
    for holds, code, message in tests:
        if not holds(value):
            issues.append(Issue(path=path, code=code, message=message))


# --- text ------------------------------------------------------------------------------------


def is_storable(text: str) -> bool:
    """Whether a text can be kept by every store: no NUL, no lone surrogate."""
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _text(field: FieldDef) -> Check:
    tests = _text_tests(field)

    def check(value: Any, path: str, issues: Issues) -> Value:
        if type(value) is not str:
            return _fail(issues, path, "invalid_type", "Must be text")
        if not is_storable(value):
            return _fail(issues, path, "invalid_value", "Must not contain NUL or broken characters")
        if tests:
            _run(tests, value, path, issues)
        return value

    return check


def _text_tests(field: FieldDef) -> tuple[Test, ...]:
    checks = field.checks
    tests: list[Test] = []
    note = checks.message if checks else None
    for low in (field.min_length, checks.min_length if checks else None):
        if low is not None:
            message = note or f"Must be at least {low} characters"
            tests.append((lambda v, n=low: len(v) >= n, "min_length", message))
    for high in (field.max_length, checks.max_length if checks else None):
        if high is not None:
            message = note or f"Must be at most {high} characters"
            tests.append((lambda v, n=high: len(v) <= n, "max_length", message))
    tests += _format_tests(field, note)
    for pattern in (field.pattern, checks.pattern if checks else None):
        if pattern is not None:
            message = note or "Value does not match required pattern"
            tests.append((compile_pattern(pattern), "invalid_format", message))
    return tuple(tests)


def _format_tests(field: FieldDef, note: str | None) -> list[Test]:
    checks = field.checks
    wanted = {field.type, checks.format if checks else None}
    tests: list[Test] = []
    if "email" in wanted:
        message = note or "Invalid email format"
        tests.append((lambda v: _EMAIL.match(v) is not None, "invalid_email", message))
    if "url" in wanted:
        protocols = (checks.protocols if checks else ()) or ("http", "https")
        message = note or "Invalid URL format"
        tests.append((lambda v: is_url(v, protocols), "invalid_url", message))
    if "phone" in wanted:
        message = note or "Invalid phone number format"
        tests.append((lambda v: _PHONE.match(v) is not None, "invalid_phone", message))
    if "color" in wanted:
        message = note or "Must be a color such as #ff8800"
        tests.append((lambda v: _COLOR.match(v) is not None, "invalid_format", message))
    for name, canonical in (("date", canonical_date), ("datetime", canonical_instant)):
        if checks and checks.format == name:
            message = note or "Invalid date format"
            tests.append((lambda v, c=canonical: _accepts(c, v), "invalid_date", message))
    return tests


def _accepts(canonical: Callable[[str], str], text: str) -> bool:
    try:
        canonical(text)
    except ValueError:
        return False
    return True


def is_email(text: str) -> bool:
    return _EMAIL.match(text) is not None


def is_phone(text: str) -> bool:
    return _PHONE.match(text) is not None


def is_url(text: str, protocols: tuple[str, ...]) -> bool:
    """Whether `text` is a URL of one of `protocols` with a host."""
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return False
    return parts.scheme in protocols and bool(host) and not any(c.isspace() for c in text)


def _password(field: FieldDef) -> Check:
    plain = _text(field)

    def check(value: Any, path: str, issues: Issues) -> Value:
        before = len(issues)
        plain(value, path, issues)
        return hash_password(value) if len(issues) == before else None

    return check


def _record_id(value: Any, path: str, issues: Issues) -> Value:
    if type(value) is not str:
        return _fail(issues, path, "invalid_type", "Must be the id of a record")
    if not is_record_id(value):
        return _fail(issues, path, "invalid_value", "Must be the id of a record")
    return value


# --- numbers, booleans, time -------------------------------------------------------------------


def _number(field: FieldDef) -> Check:
    tests = _number_tests(field)
    convert = _conversion(field)

    def check(value: Any, path: str, issues: Issues) -> Value:
        if not is_exact_number(value):
            return _fail(issues, path, "invalid_number", "Must be a number")
        number = convert(value)
        if tests:
            _run(tests, number, path, issues)
        return number

    return check


def is_exact_number(value: object) -> bool:
    """Whether `value` is a finite number, and one that every client reads exactly if it is whole."""
    kind: type[Any] = type(value)
    if kind is int:
        return -MAX_SAFE_INTEGER <= cast("int", value) <= MAX_SAFE_INTEGER
    if kind is float:
        return math.isfinite(cast("float", value))
    return kind is Decimal and cast("Decimal", value).is_finite()


def _conversion(field: FieldDef) -> Callable[[Any], Any]:
    if field.storage is Storage.FLOAT:
        return lambda value: float(value) if type(value) is Decimal else value
    scale = _scale(field)
    step = Decimal(1).scaleb(-scale)

    def rounded(value: Any) -> Decimal:
        exact = value if type(value) is Decimal else Decimal(str(value))
        if exact.adjusted() > _DEFAULT_PRECISION:
            return exact  # beyond every limit; quantizing it would overflow the context
        return exact.quantize(step, ROUND_HALF_UP)

    if field.storage is Storage.INTEGER:
        return lambda value: value if type(value) is int else int(rounded(value))
    return rounded


def _scale(field: FieldDef) -> int:
    if field.storage is Storage.INTEGER:
        return 0
    return _DEFAULT_SCALE if field.scale is None else field.scale


def _number_tests(field: FieldDef) -> tuple[Test, ...]:
    checks = field.checks
    note = checks.message if checks else None
    tests: list[Test] = []
    low = 0 if field.min is None and field.type in _FROM_ZERO else field.min
    for bound in (low, checks.min if checks else None):
        if bound is not None:
            message = note or f"Value must be at least {bound:g}"
            tests.append((lambda v, n=bound: v >= n, "min_value", message))
    for bound in (field.max, checks.max if checks else None):
        if bound is not None:
            message = note or f"Value must be at most {bound:g}"
            tests.append((lambda v, n=bound: v <= n, "max_value", message))
    if field.storage is Storage.DECIMAL or field.precision is not None:
        scale = _scale(field) if field.storage is not Storage.FLOAT else 0
        digits = (field.precision or _DEFAULT_PRECISION) - scale
        limit = 10**digits
        message = f"Value must have at most {digits} digits before the point"
        tests.append((lambda v: -limit < v < limit, "max_value", message))
    if field.storage is Storage.INTEGER:
        message = "Value is too large to be exact"
        tests.append((lambda v: abs(v) <= MAX_SAFE_INTEGER, "max_value", message))
    return tuple(tests)


def _boolean(value: Any, path: str, issues: Issues) -> Value:
    if type(value) is not bool:
        return _fail(issues, path, "invalid_boolean", "Must be true or false")
    return value


_TEMPORAL: dict[Storage, tuple[Callable[[str], str], str]] = {
    Storage.DATE: (canonical_date, "invalid_date"),
    Storage.DATETIME: (canonical_instant, "invalid_date"),
    Storage.TIME: (canonical_time, "invalid_time"),
}


def _temporal(field: FieldDef, canonical: Callable[[str], str], code: str) -> Check:
    note = field.checks.message if field.checks else None

    def check(value: Any, path: str, issues: Issues) -> Value:
        if type(value) is not str:
            return _fail(issues, path, code, note or f"Must be a {field.type}")
        try:
            return canonical(value)
        except ValueError as exc:
            return _fail(issues, path, code, note or f"Must be a {field.type}: {exc}")

    return check


# --- choices, lists and structures -------------------------------------------------------------


def _option(field: FieldDef) -> Check:
    """Options are stored as text; a number may be given as itself or as its text."""
    stored = {str(option.value): str(option.value) for option in field.options}
    exact = {(type(o.value), o.value): str(o.value) for o in field.options}
    shown = ", ".join(list(stored)[:10])

    def check(value: Any, path: str, issues: Issues) -> Value:
        kind: type[Any] = type(cast("object", value))
        if kind is str and value in stored:
            return stored[value]
        if kind in (int, float, bool) and (kind, value) in exact:
            return exact[kind, value]
        return _fail(issues, path, "invalid_option", f"Must be one of: {shown}")

    return check


def _list_of(check_member: Check) -> Check:
    def check(value: Any, path: str, issues: Issues) -> Value:
        if type(value) is not list:
            return _fail(issues, path, "invalid_type", "Must be a list")
        members: list[Value] = []
        for index, member in enumerate(cast("list[Any]", value)):
            if member is None or member == "":
                _fail(issues, f"{path}.{index}", "required", "A list has no blank members")
            else:
                members.append(check_member(member, f"{path}.{index}", issues))
        return members

    return check


def check_json(value: Any, path: str, issues: Issues, depth: int = 0) -> Value:
    """A JSON value of bounded depth, with storable texts and exact numbers."""
    if depth > MAX_JSON_DEPTH:
        return _fail(issues, path, "invalid_json", f"Nested deeper than {MAX_JSON_DEPTH} levels")
    kind: type[Any] = type(cast("object", value))
    if kind is str:
        if not is_storable(value):
            _fail(issues, path, "invalid_value", "Must not contain NUL or broken characters")
    elif kind is dict:
        for key, member in cast("dict[Any, Any]", value).items():
            if type(key) is not str or not is_storable(key):
                _fail(issues, path, "invalid_json", "A key must be text without NUL")
            else:
                check_json(member, f"{path}.{key}", issues, depth + 1)
    elif kind is list:
        for index, member in enumerate(cast("list[Any]", value)):
            check_json(member, f"{path}.{index}", issues, depth + 1)
    elif kind is Decimal:
        return float(value)
    elif value is not None and kind is not bool and not is_exact_number(value):
        _fail(issues, path, "invalid_json", "Must be JSON; whole numbers only up to 2^53")
    return value


def _shaped(shape: type, wording: str) -> Callable[[FieldDef], Check]:
    def build(field: FieldDef) -> Check:
        members = {name: compile_check(member) for name, member in field.fields.items()}
        required = tuple(name for name, member in field.fields.items() if member.required)

        def check_members(value: dict[str, Any], path: str, issues: Issues) -> Value:
            checked: dict[str, Value] = {}
            for name, member in value.items():
                check = members.get(name)
                if check is None:
                    _fail(issues, f"{path}.{name}", "unknown_field", "There is no such member")
                elif member is None or member == "":
                    checked[name] = member
                else:
                    checked[name] = check(member, f"{path}.{name}", issues)
            for name in required:
                if value.get(name) in (None, ""):
                    label = field.fields[name].label
                    _fail(issues, f"{path}.{name}", "required", f"{label} is required")
            return checked

        def check(value: Any, path: str, issues: Issues) -> Value:
            if type(value) is not shape:
                return _fail(issues, path, "invalid_shape", wording)
            if not members:
                return check_json(value, path, issues)
            if shape is dict:
                return check_members(value, path, issues)
            rows: list[Value] = []
            for index, row in enumerate(cast("list[Any]", value)):
                if type(row) is dict:
                    rows.append(check_members(cast("Any", row), f"{path}.{index}", issues))
                else:
                    _fail(issues, f"{path}.{index}", "invalid_shape", "Must be an object")
            return rows

        return check

    return build


def _rows(field: FieldDef) -> Check:
    shaped = _shaped(list, "Must be a list of objects")(field)

    def check(value: Any, path: str, issues: Issues) -> Value:
        if type(value) is list:
            for index, row in enumerate(cast("list[Any]", value)):
                if type(row) is not dict:
                    _fail(issues, f"{path}.{index}", "invalid_shape", "Must be an object")
                    return None
        return shaped(value, path, issues)

    return check


def _location(_field: FieldDef) -> Check:
    def check(value: Any, path: str, issues: Issues) -> Value:
        if type(value) is not dict:
            return _fail(issues, path, "invalid_shape", "Must be an object with lat and lng")
        place = cast("Mapping[str, Any]", value)
        for name, bound in (("lat", 90), ("lng", 180)):
            number = place.get(name)
            if not is_exact_number(number):
                _fail(issues, f"{path}.{name}", "invalid_number", "Must be a number")
            elif not -bound <= cast("float", number) <= bound:
                message = f"Must be between -{bound} and {bound}"
                _fail(issues, f"{path}.{name}", "invalid_value", message)
        for name in place.keys() - {"lat", "lng"}:
            if name not in ("altitude", "accuracy"):
                _fail(issues, f"{path}.{name}", "unknown_field", "A location has no such member")
            elif place[name] is not None and not is_exact_number(place[name]):
                _fail(issues, f"{path}.{name}", "invalid_number", "Must be a number")
        return cast("Value", value)

    return check


def _file(_field: FieldDef) -> Check:
    """The id of a stored file, or an object that describes one."""

    def check(value: Any, path: str, issues: Issues) -> Value:
        if type(value) not in (str, dict):
            return _fail(issues, path, "invalid_shape", "Must be a file id or a file object")
        return check_json(value, path, issues)

    return check


def _vector(field: FieldDef) -> Check:
    size = field.dimension or 0

    def check(value: Any, path: str, issues: Issues) -> Value:
        numbers = cast("list[Any]", value) if type(value) is list else None
        if numbers is None or not all(is_exact_number(number) for number in numbers):
            return _fail(issues, path, "invalid_shape", "Must be a list of numbers")
        if len(numbers) != size:
            return _fail(issues, path, "invalid_shape", f"Must have {size} numbers")
        return numbers

    return check


_ANY_JSON: Callable[[FieldDef], Check] = lambda _field: check_json  # noqa: E731 - a table entry
_OBJECT = _shaped(dict, "Must be an object")
_BY_TYPE: dict[str, Callable[[FieldDef], Check]] = {
    "password": _password,
    "json": _ANY_JSON,
    "object": _OBJECT,
    "composite": _OBJECT,
    "record": _OBJECT,
    "address": _OBJECT,
    "grid": _rows,
    "repeater": _rows,
    "array": _shaped(list, "Must be a list"),
    "location": _location,
    "vector": _vector,
    **dict.fromkeys("file attachment image avatar video audio signature".split(), _file),
}
