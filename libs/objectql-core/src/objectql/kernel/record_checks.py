"""What a record must satisfy inside a transaction: field checks, then the object's rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from objectql.errors import Issue, ValidationFailed
from objectql.ids import FieldName
from objectql.kernel.change import Moment
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.kernel.validate import Checked
from objectql.metadata.model import ObjectDef
from objectql.metadata.types import Storage
from objectql.query.ast import Compare, Op, Query
from objectql.query.parse import parse_where
from objectql.values import Value

_LOOKUP_LIMIT = 100
_TREE_DEPTH = 1000
"""A tree that is deeper is taken for a circle."""


class RecordChecks:
    """The checks of one transaction. `scope` reads for rules, whoever asks."""

    def __init__(self, reader: Reader, scope: Scope, moment: Moment, *, is_bulk: bool) -> None:
        self._reader = reader
        self._scope = scope
        self._moment = moment
        self._is_bulk = is_bulk

    def check_create(
        self,
        object_: ObjectDef,
        data: Mapping[str, Any],
        dropped: tuple[str, ...] = (),
        hidden: frozenset[str] = frozenset(),
    ) -> Checked:
        validator = self._scope.model.validator(object_)
        checked = validator.check_create(
            data, now=self._moment.now, actor=self._moment.actor, hidden=hidden
        )
        return checked._replace(dropped=tuple(dict.fromkeys((*dropped, *checked.dropped))))

    def check_update(
        self,
        object_: ObjectDef,
        data: Mapping[str, Any],
        previous: Mapping[str, Any],
        dropped: tuple[str, ...] = (),
        trusted: set[str] | frozenset[str] = frozenset(),
        hidden: frozenset[str] = frozenset(),
    ) -> Checked:
        validator = self._scope.model.validator(object_)
        checked = validator.check_update(data, previous, trusted=trusted, hidden=hidden)
        return checked._replace(dropped=tuple(dict.fromkeys((*dropped, *checked.dropped))))

    def check_increments(
        self, object_: ObjectDef, merged: Mapping[str, Any], checked: Checked
    ) -> Checked:
        """What increments make of their fields, checked as if it had been given."""
        names = checked.increments
        outcome = self._scope.model.validator(object_).check_update({n: merged[n] for n in names})
        fractions = tuple(
            Issue(path=name, code="invalid_number", message="A whole number grows by whole numbers")
            for name, amount in names.items()
            if object_.fields[FieldName(name)].storage is Storage.INTEGER and amount % 1
        )
        return outcome._replace(issues=(*outcome.issues, *fractions))

    def completed(
        self, object_: ObjectDef, given: dict[str, Any], kept: frozenset[str]
    ) -> dict[str, Any]:
        """`given` with every absent writable field but `kept`: its default, or null."""
        validator = self._scope.model.validator(object_)
        fresh = validator.check_create({}, now=self._moment.now, actor=self._moment.actor).values
        for field in object_.stored_fields:
            if field.name in given or field.name in kept:
                continue
            if field.is_writable and not field.readonly:
                given[field.name] = fresh.get(field.name)
        return given

    async def check_trees(
        self, object_: ObjectDef, id_: str, values: Mapping[str, Any]
    ) -> tuple[Issue, ...]:
        """A problem for each tree field whose new parent is the record itself or below it."""
        issues: list[Issue] = []
        for field in object_.tree_fields:
            above = values.get(field.name)
            for _ in range(_TREE_DEPTH):
                if above is None or above == id_:
                    break
                where = Compare(("id",), Op.EQ, above)
                query = Query(object=object_.name, fields=((field.name,),), where=where, limit=1)
                rows = await self._reader.rows(query, self._scope)
                above = rows[0][field.name] if rows else None
            if above is not None:
                message = f"{field.label} would make a circle"
                issues.append(Issue(path=field.name, code="invalid_reference", message=message))
        return tuple(issues)

    async def check_rules(
        self,
        object_: ObjectDef,
        operation: str,
        record: Mapping[str, Any],
        previous: Mapping[str, Any] | None = None,
        changed: set[str] | None = None,
    ) -> tuple[str, ...]:
        """Run the object's rules; the texts of those that only warn."""
        rules = self._scope.model.rules(object_)
        if not rules.applies_to(operation):
            return ()

        async def lookup(name: str, where: Mapping[str, Any]) -> list[dict[str, Any]]:
            query = Query(
                object=name or object_.name, where=parse_where(dict(where)), limit=_LOOKUP_LIMIT
            )
            return await self._reader.rows(query, self._scope)

        report = await rules.check(
            record,
            operation=operation,
            now=self._moment.now,
            actor=self._moment.actor,
            previous=previous,
            changed=changed,
            lookup=lookup,
            bulk=self._is_bulk,
        )
        if report.errors:
            raise ValidationFailed(object=object_.name, issues=report.errors)
        return tuple(issue.message for issue in report.warnings)


def merged_record(previous: Mapping[str, Any], checked: Checked) -> dict[str, Value]:
    """The record as it will be."""
    merged: dict[str, Value] = {**previous, **checked.values}
    for name, amount in checked.increments.items():
        merged[name] = (previous.get(name) or 0) + amount
    return merged


def raise_issues(object_: ObjectDef, checked: Checked) -> None:
    if checked.issues:
        raise ValidationFailed(object=object_.name, issues=checked.issues)


def raise_unknown_keys(object_: ObjectDef, checked: Checked) -> None:
    """Unknown keys are the caller's; what hooks may still mend is checked after them."""
    unknown = tuple(issue for issue in checked.issues if issue.code == "unknown_field")
    if unknown:
        raise ValidationFailed(object=object_.name, issues=unknown)
