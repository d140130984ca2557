"""What `bind` must be told about the caller: the port that `security` implements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from objectql.ids import FieldName
from objectql.metadata.masks import Mask
from objectql.metadata.model import ObjectDef
from objectql.metadata.types import Storage
from objectql.query.ast import Filter, Path
from objectql.query.bound import Column, Param, Predicate
from objectql.values import Value


class RuleBinder(Protocol):
    """Makes predicates over the rule's object. Rules may look at every stored field."""

    def filter(self, rule: Filter) -> Predicate:
        """Bind a filter whose literals are fixed by the rule, beside facts of the caller (`Fact`).

        Text literals may be tokens such as `{today}`.
        """
        ...

    def column(self, path: Path) -> Column:
        """A stored field, by its path."""
        ...

    def context(self, name: str, storage: Storage) -> Param:
        """A fact of the request: `tenant`, `user.id` or `user.<claim>`."""
        ...

    def constant(self, value: Value, storage: Storage) -> Param:
        """A value fixed by the rule, given as a literal."""
        ...


class AccessPolicy(Protocol):
    """What one kind of caller may read."""

    @property
    def shape(self) -> str:
        """Callers with equal shapes may share plans: facts of the caller enter as parameters."""
        ...

    def check_read(self, object: ObjectDef) -> None:
        """Return when records of `object` may be read at all.

        Raises:
            PermissionDenied: they may not.

        """
        ...

    def readable(self, object: ObjectDef) -> frozenset[FieldName] | None:
        """The fields that may be read; None means all."""
        ...

    def masks(self, object: ObjectDef) -> Mapping[FieldName, Mask]:
        """What is shown of fields that may not be read in full, and not be asked about."""
        ...

    def row_rule(self, object: ObjectDef, binder: RuleBinder) -> Predicate | None:
        """What a record must satisfy to be seen; None means nothing."""
        ...


class AllowAll:
    """The system itself: every field of every record of the tenant."""

    shape = "*"

    def check_read(self, object: ObjectDef) -> None:  # noqa: ARG002 - the port names it
        """Return."""

    def readable(self, object: ObjectDef) -> frozenset[FieldName] | None:  # noqa: ARG002
        return None

    def masks(self, object: ObjectDef) -> Mapping[FieldName, Mask]:  # noqa: ARG002
        return {}

    def row_rule(self, object: ObjectDef, binder: RuleBinder) -> Predicate | None:  # noqa: ARG002
        return None
