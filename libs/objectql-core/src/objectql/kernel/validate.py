"""Record validation, compiled per object: fields known, values canonical, required ones there.

All problems of a record are found at once. Rules over several fields are `kernel.rules`'.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple, cast

from objectql.context import Actor
from objectql.errors import Issue, MetadataInvalid, PermissionDenied, suggestion_text
from objectql.formula.syntax import FormulaError
from objectql.ids import is_record_id
from objectql.kernel.checks import Check, compile_check, is_exact_number
from objectql.kernel.formulas import Computed, RecordFormulas
from objectql.metadata.check_defaults import ACTOR_TOKENS, NOW_TOKENS, TODAY_TOKENS
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.types import NUMERIC, Storage
from objectql.query.values_in import fact_as
from objectql.values import Value

_FREE_TEXT = frozenset(
    "text textarea markdown html richtext code qrcode color email url phone password secret".split()
)
_ACTOR_CLAIM = "$current_user."

_REPORTED, _SUGGESTED, _LONGEST_NAME = 100, 5, 100
"""Problems of one record after which unknown keys are not told any more, or without suggestions; and
the characters that are told of one. A body may hold a hundred thousand keys, and looking for a
similar name takes 50 µs."""


class _Default(NamedTuple):
    """What fills a field in; `is_checked` where its value, a literal, needs no check any more."""

    field: str
    value: Computed
    is_checked: bool


class Checked(NamedTuple):
    """A record after validation. `values` may be stored only if `issues` is empty.

    `dropped` names keys that callers may not set; `increments` holds what `{"$inc": n}` adds.
    """

    values: dict[str, Value]
    dropped: tuple[str, ...] = ()
    issues: tuple[Issue, ...] = ()
    increments: dict[str, Any] = {}  # noqa: RUF012 - never written to


def compile_validator(object: ObjectDef) -> RecordValidator:
    """The validator of `object`'s records.

    Raises:
        MetadataInvalid: a default has no meaning.

    """
    return RecordValidator(object)


class RecordValidator:
    """Checks records of one object; holds nothing of a request."""

    def __init__(self, object: ObjectDef) -> None:
        self._object = object
        self._formulas = RecordFormulas(object)
        self._checks: dict[str, Check] = {}
        self._dropped_on_create: set[str] = set()
        self._dropped_on_update: set[str] = {"_id"}
        self._numeric: set[str] = set()
        self._blank_is_null: set[str] = set()
        self._required: list[tuple[str, str]] = []
        self._defaults: list[_Default] = []
        unsupported: list[Issue] = []
        for name, field in object.fields.items():
            if name == "id":
                self._dropped_on_update.add(name)
            elif not field.is_writable:
                self._dropped_on_create.add(name)
                self._dropped_on_update.add(name)
            else:
                self._add(field, unsupported)
        if unsupported:
            raise MetadataInvalid(issues=tuple(unsupported))
        self._required_labels = dict(self._required)

    def _add(self, field: FieldDef, unsupported: list[Issue]) -> None:
        name = field.name
        self._checks[name] = compile_check(field)
        if field.readonly:
            self._dropped_on_update.add(name)
        if field.storage in NUMERIC:
            self._numeric.add(name)
        if field.type not in _FREE_TEXT or field.multiple:
            self._blank_is_null.add(name)
        if field.required:
            self._required.append((name, field.label or name))
        if field.default is None:
            return
        message = "this is no default of such a field"
        try:
            default = self._default(field)
        except FormulaError as exc:
            default, message = None, str(exc)
        if default is None:
            path = f"{self._object.name}.fields.{name}.defaultValue"
            unsupported.append(Issue(path=path, code="unsupported_default", message=message))
        else:
            self._defaults.append(default)

    def _default(self, field: FieldDef) -> _Default | None:
        """What fills the field in; None if it has no meaning."""
        given = field.default
        if isinstance(given, dict) and set(cast("dict[str, Any]", given)) == {"expression"}:
            text = str(cast("dict[str, Any]", given)["expression"]).strip()
            if text not in NOW_TOKENS | TODAY_TOKENS | ACTOR_TOKENS:
                computed = self._formulas.default(text, field)
                return computed and _Default(field.name, computed, is_checked=False)
            given = text
        if isinstance(given, str) and not field.options:
            token = _token(field.storage, given)
            if token is not None:
                return _Default(field.name, token, is_checked=False)
        issues: list[Issue] = []
        literal = self._checks[field.name](given, field.name, issues)
        if issues:
            return None
        fixed: Computed = lambda _record, _now, _actor: literal  # noqa: E731 - one of two
        if isinstance(literal, dict | list):
            fixed = lambda _record, _now, _actor: copy.deepcopy(literal)  # noqa: E731
        return _Default(field.name, fixed, is_checked=True)

    def check_create(
        self,
        data: Mapping[str, Any],
        *,
        now: str,
        actor: Actor,
        hidden: Collection[str] = (),
    ) -> Checked:
        """`data` as a new record: defaults filled in, required fields there.

        `now` is the canonical instant of the request. `hidden` fields do not exist for the caller.

        Raises:
            PermissionDenied: a hidden field is required and has no default, or not one that it takes.

        """
        issues: list[Issue] = []
        values: dict[str, Value] = {}
        made: list[Issue] = []
        dropped: list[str] = []
        checks = self._checks
        for name, value in data.items():
            check = checks.get(name)
            if name in hidden:
                self._unknown(name, hidden, issues)
            elif check is None:
                self._other_key(name, value, values, dropped, issues, hidden)
            elif value is None or value == "":
                values[name] = None if name in self._blank_is_null else value
            else:
                values[name] = check(value, name, issues)
        for default in self._defaults:
            name = default.field
            if name not in values:
                value = default.value(values, now, actor)
                values[name] = value if default.is_checked else self._made(name, value, made)
        if any(issue.path in hidden for issue in made):  # of fields that the caller may not know of
            raise PermissionDenied(operation="create", object=self._object.name)
        issues += made
        for name, label in self._required:
            if _is_blank(values.get(name)) and not any(i.path == name for i in issues):
                if name in hidden:  # nobody who may not know of it can give it a value
                    raise PermissionDenied(operation="create", object=self._object.name)
                issues.append(_required(name, label))
        return Checked(values, tuple(dropped), tuple(issues))

    def _made(self, name: str, value: Value, issues: list[Issue]) -> Value:
        """A computed value in the form in which a given one would be kept."""
        if value is None or value == "":
            return None if name in self._blank_is_null else value
        return self._checks[name](value, name, issues)

    def _other_key(
        self,
        name: str,
        value: Any,
        values: dict[str, Value],
        dropped: list[str],
        issues: list[Issue],
        hidden: Collection[str],
    ) -> None:
        """A key of a new record that is no writable field: the id, a system field, a mistake."""
        if name in self._dropped_on_create:
            dropped.append(name)
        elif name not in ("id", "_id"):
            self._unknown(name, hidden, issues)
        elif value is None:
            return
        elif isinstance(value, str) and is_record_id(value):
            values["id"] = value
        else:
            message = "An id is a text of 1 to 255 printable characters"
            issues.append(Issue(path=name, code="invalid_value", message=message))

    def check_update(
        self,
        data: Mapping[str, Any],
        previous: Mapping[str, Value] | None = None,
        *,
        trusted: Collection[str] = (),
        hidden: Collection[str] = (),
    ) -> Checked:
        """`data` as a change: only the keys present are checked. `hidden` as in `check_create`.

        A readonly key that repeats the value of `previous` is left out without being reported.
        Readonly fields in `trusted` may be set: hooks have given them, not the caller.
        """
        issues: list[Issue] = []
        values: dict[str, Value] = {}
        dropped: list[str] = []
        increments: dict[str, Any] = {}
        checks = self._checks
        for name, value in data.items():
            check = checks.get(name)
            if name in hidden:
                self._unknown(name, hidden, issues)
            elif check is None or (name in self._dropped_on_update and name not in trusted):
                if name not in self._dropped_on_update:
                    self._unknown(name, hidden, issues)
                elif previous is None or previous.get(name) != value:
                    dropped.append(name)
            elif value is None or value == "":
                values[name] = None if name in self._blank_is_null else value
                if name in self._required_labels:
                    issues.append(_required(name, self._required_labels[name]))
            elif type(value) is dict and "$inc" in value and name in self._numeric:
                self._increment(name, cast("dict[str, Any]", value), increments, issues)
            else:
                checked = values[name] = check(value, name, issues)
                if checked == [] and name in self._required_labels:
                    issues.append(_required(name, self._required_labels[name]))
        return Checked(values, tuple(dropped), tuple(issues), increments)

    @staticmethod
    def _increment(
        name: str, value: dict[str, Any], increments: dict[str, Any], issues: list[Issue]
    ) -> None:
        if len(value) == 1 and is_exact_number(value["$inc"]):
            increments[name] = value["$inc"]
        else:
            message = 'An increment is written {"$inc": number}'
            issues.append(Issue(path=name, code="invalid_number", message=message))

    def _unknown(self, name: str, hidden: Collection[str], issues: list[Issue]) -> None:
        """Report a key that is no field; of very many only the first, and fewer with suggestions."""
        if len(issues) >= _REPORTED:
            return
        near: tuple[str, ...] = ()
        if len(issues) < _SUGGESTED and len(name) <= _LONGEST_NAME:
            known = [other for other in self._checks if other not in hidden]
            near = tuple(get_close_matches(name, known, n=2))
        shown = name[:_LONGEST_NAME]
        message = f'{self._object.name} has no field "{shown}"{suggestion_text(near)}'
        issues.append(Issue(path=shown, code="unknown_field", message=message))


def _is_blank(value: Value) -> bool:
    return value is None or value in ("", [])


def _required(name: str, label: str) -> Issue:
    return Issue(path=name, code="required", message=f"{label} is required")


def _token(storage: Storage, text: str) -> Computed | None:
    """The function that a token stands for in a column of this storage; None for other text."""
    if text in ACTOR_TOKENS:
        return lambda _record, _now, actor: actor.id
    if text.startswith(_ACTOR_CLAIM):
        claim = text.removeprefix(_ACTOR_CLAIM)
        return lambda _record, _now, actor: fact_as(actor, claim, storage)
    if storage is Storage.DATE and text in NOW_TOKENS | TODAY_TOKENS:
        return lambda _record, now, _actor: now[:10]
    if storage is Storage.DATETIME and text in NOW_TOKENS:
        return lambda _record, now, _actor: now
    if storage is Storage.DATETIME and text in TODAY_TOKENS:
        return lambda _record, now, _actor: f"{now[:10]}T00:00:00.000Z"
    if storage is Storage.TIME and text in NOW_TOKENS:
        return lambda _record, now, _actor: now[11:19]
    return None
