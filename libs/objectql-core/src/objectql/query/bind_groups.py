"""Groups, aggregates and conditions on them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from objectql.errors import InvalidFilter, InvalidQuery, ObjectQLError
from objectql.metadata.types import NUMERIC, Storage
from objectql.query.ast import Aggregation, Group, Path, Query
from objectql.query.bound import (
    TRUE,
    Aggregate,
    Alias,
    Column,
    Grouping,
    GroupKey,
    Order,
    Predicate,
)
from objectql.query.conditions import Conditions
from objectql.query.words import near_misses

FindColumn: TypeAlias = Callable[[Path], Column]

_ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,62}\Z")
_SHAPELESS = frozenset({Storage.JSON, Storage.LIST})
_DATES = frozenset({Storage.DATE, Storage.DATETIME})


def bind_grouping(
    query: Query, find: FindColumn, conditions: Conditions
) -> tuple[Grouping, tuple[Order, ...]]:
    """The grouping of `query` and the total order of its groups.

    Groups are ordered as asked, then by their keys.
    """
    problems = conditions.problems
    keys: list[GroupKey] = []
    aggregates: list[Aggregate] = []
    outputs: dict[str, Alias] = {}

    def take(alias: Alias) -> None:
        if alias.name in outputs:
            raise InvalidQuery(reason=f'two columns are called "{alias.name}"')
        outputs[alias.name] = alias

    for index, group in enumerate(query.group_by):
        try:
            key = _bind_key(group, find)
            take(_alias_of(key))
            keys.append(key)
        except ObjectQLError as error:
            problems.note(error, f"groupBy.{index}")
    for index, item in enumerate(query.aggregations):
        try:
            aggregate = _bind_aggregate(item, find, conditions, index)
            take(Alias(aggregate.alias, aggregate.storage))
            aggregates.append(aggregate)
        except ObjectQLError as error:
            problems.note(error, f"aggregations.{index}")
    names = _Names(keys, outputs)
    having: Predicate = TRUE
    if query.having is not None:
        having = conditions.bind(query.having, names.find, "having")
    for index, path in enumerate(query.fields or ()):
        try:
            names.find(path)
        except ObjectQLError as error:
            problems.note(error, f"fields.{index}")
    order: dict[str, Order] = {}
    for index, sort in enumerate(query.order_by):
        try:
            by = names.find(sort.path)
            if by.storage in _SHAPELESS:
                raise InvalidQuery(reason=f'"{by.name}" has no order')
            order.setdefault(by.name, Order(by, sort.descending))
        except ObjectQLError as error:
            problems.note(error, f"orderBy.{index}")
    for key in keys:
        order.setdefault(key.alias, Order(_alias_of(key)))
    return Grouping(tuple(keys), tuple(aggregates), having), tuple(order.values())


class _Names:
    """Aliases, and group fields by their own name, as conditions and orders call them."""

    def __init__(self, keys: list[GroupKey], outputs: dict[str, Alias]) -> None:
        self._outputs = outputs
        self._by_column = {
            key.column.name: outputs[key.alias] for key in keys if key.granularity is None
        }

    def find(self, path: Path) -> Alias:
        name = ".".join(path)
        found = self._outputs.get(name) or self._by_column.get(name)
        if found is None:
            raise InvalidFilter(
                reason=f'"{name}" is neither a group key nor an aggregate',
                suggestions=near_misses(name, self._outputs),
            )
        return found


def _alias_of(key: GroupKey) -> Alias:
    storage = key.column.field.storage
    return Alias(key.alias, Storage.TEXT if key.granularity else storage)


def _bind_key(group: Group, find: FindColumn) -> GroupKey:
    column = find(group.path)
    storage = column.field.storage
    if storage in _SHAPELESS:
        raise InvalidQuery(reason=f'"{column.name}" cannot be grouped by')
    if group.granularity is not None and storage not in _DATES:
        raise InvalidQuery(reason=f'"{column.name}" is not a date')
    return GroupKey(_check_alias(group.alias or column.name), column, group.granularity)


def _bind_aggregate(
    item: Aggregation, find: FindColumn, conditions: Conditions, index: int
) -> Aggregate:
    column = None if item.path is None else find(item.path)
    alias = item.alias
    if not alias:
        alias = item.function if item.path is None else f"{item.function}_{'_'.join(item.path)}"
    narrowed: Predicate = TRUE
    if item.filter is not None:
        narrowed = conditions.bind(item.filter, find, f"aggregations.{index}.filter")
    storage = _result_storage(item.function, column)
    return Aggregate(_check_alias(alias), item.function, storage, column, narrowed)


def _result_storage(function: str, column: Column | None) -> Storage:
    if column is None:
        if function != "count":
            raise InvalidQuery(reason=f"{function} needs a field")
        return Storage.INTEGER
    storage = column.field.storage
    match function:
        case "count":
            return Storage.INTEGER
        case "count_distinct":
            if storage in _SHAPELESS:
                raise InvalidQuery(reason=f'values of "{column.name}" cannot be told apart')
            return Storage.INTEGER
        case "sum" | "avg":
            if storage not in NUMERIC:
                raise InvalidQuery(
                    reason=f'{function} needs a number; "{column.name}" is {storage}'
                )
            return Storage.FLOAT if function == "avg" else storage
        case _:
            if storage in _SHAPELESS or storage is Storage.BOOLEAN:
                raise InvalidQuery(reason=f'"{column.name}" has no {function}')
            return storage


def _check_alias(alias: str) -> str:
    if _ALIAS.match(alias) is None:
        raise InvalidQuery(
            reason=f"{alias!r:.40} cannot be an alias: letters, digits, _ and . are, up to 63"
        )
    return alias
