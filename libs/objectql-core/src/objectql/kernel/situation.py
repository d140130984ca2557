"""What a rule may look at, and how it names parts of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from objectql.context import Actor
from objectql.metadata.types import Storage
from objectql.query.values_in import fact_as
from objectql.values import Value


class Situation(NamedTuple):
    """What a rule may look at: the record as it will be, as it was, when, and who asks."""

    record: Mapping[str, Any]
    previous: Mapping[str, Any]
    operation: str
    now: str
    actor: Actor


def read(record: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or None where there is nothing."""
    if path in record:
        return record[path]
    value: Any = record
    for part in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = cast("Mapping[str, Any]", value).get(part)
    return value


def fact_of(actor: Actor, path: Sequence[str]) -> Value:
    """What formulas know of the caller: their roles, and everything else as text, as in queries."""
    shape = "list" if tuple(path) == ("roles",) else "scalar"
    return fact_as(actor, ".".join(path), Storage.TEXT, shape)
