"""Callers who see only some records."""

from __future__ import annotations

from collections.abc import Mapping

from objectql.metadata.model import ObjectDef
from objectql.query.ast import Filter
from objectql.query.bound import Predicate
from objectql.query.policy import AllowAll, RuleBinder


class RowRules(AllowAll):
    """Every field of the records that satisfy a rule, which may itself follow lookups."""

    def __init__(self, rules: Mapping[str, Filter]) -> None:
        self.rules = rules

    def row_rule(self, object: ObjectDef, binder: RuleBinder) -> Predicate | None:
        """See `AccessPolicy`."""
        rule = self.rules.get(object.name)
        return None if rule is None else binder.filter(rule)
