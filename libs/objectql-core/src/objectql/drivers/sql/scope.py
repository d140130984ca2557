"""One level of a statement: a table, the tables reached through its lookups, and tests on them.

Every table of a level is joined by (tenant, id), so a lookup can never lead to another tenant's
record. Columns are addressed by alias, and joins that several paths share are made once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sa  # noqa: TID251 - this package is the home of SQL

from objectql.drivers.sql.dialect import Dialect
from objectql.drivers.sql.encode import Encoder, Kind, comparand_encoder, kind_of
from objectql.drivers.sql.formulas import lower_formula
from objectql.drivers.sql.fragment import Expression, Fragment, Typed, identifier
from objectql.formula.functions import Type
from objectql.metadata.model import ObjectDef
from objectql.metadata.types import Storage
from objectql.query.bound import (
    TRUE,
    Alias,
    AllOf,
    AnyOf,
    Column,
    Const,
    Given,
    Hop,
    Negate,
    Operand,
    Order,
    Param,
    Predicate,
    Test,
    TestOp,
)

TENANT = "tenant_id"
_FACTS = {Type.TEXT: Storage.TEXT, Type.DATE: Storage.DATE, Type.DATETIME: Storage.DATETIME}
"""How facts of the caller and of the moment are given to a formula."""
NOT_NULL = frozenset({"id", "version", "created_at", "updated_at"})
"""The columns, beside the tenant's, that never hold a null; the engine checks the others."""


class Slot(NamedTuple):
    """One parameter of the SQL: which of the plan's parameters it is, and its native form."""

    param: int
    encode: Encoder


def table_name(object_: ObjectDef) -> str:
    """The table that keeps the records of `object_`."""
    return object_.table or object_.name


EACH = "e0"
"""The alias of the rows that hold the `varying` parameters of many reads, a row for each."""


class Names:
    """Aliases and parameters of one statement, each made once.

    Parameters that are `varying` are columns of `EACH`; the server does not see the `unseen` ones
    while it plans.
    """

    def __init__(
        self,
        dialect: Dialect,
        tenant: Param,
        varying: Collection[int] = (),
        unseen: Collection[int] = (),
    ) -> None:
        self.dialect = dialect
        self._count = 0
        self._varying = varying
        self._unseen = unseen
        self._slots: dict[str, Slot] = {}
        self._columns: dict[str, Typed] = {}
        self.tenant = self.param(tenant, Kind(Storage.TEXT), TestOp.EQ)

    def alias(self, prefix: str) -> str:
        """A new alias."""
        self._count += 1
        return f"{prefix}{self._count - 1}"

    def param(self, param: Param, kind: Kind, op: TestOp) -> Expression:
        """`param` as the right side of `column op param`, for a column of `kind`."""
        name = f"p{param.index}_{kind.storage}{kind.scale}_{op}"
        if name not in self._slots:
            encoder = comparand_encoder(kind, op, self.dialect.name)
            self._slots[name] = Slot(param.index, encoder)
        if param.index in self._varying:
            if name not in self._columns:
                column = column_of(EACH, f"v{len(self._columns)}")
                self._columns[name] = Typed(column, kind)
            return self._columns[name].sql
        is_list = op is TestOp.IN
        given = self.dialect.cast_param(sa.bindparam(name), kind, is_list=is_list)
        if param.index not in self._unseen:
            return given
        return self.dialect.cast_param(Fragment("(SELECT {})", given), kind, is_list=is_list)

    def count_param(self, param: Param) -> Expression:
        """`param` as a number of rows."""
        return self.param(param, Kind(Storage.INTEGER), TestOp.GTE)

    def lists(self) -> list[Expression]:
        """What fills the columns `v0`, `v1`, ... of `EACH`: a list of parameters for each."""
        return [
            self.dialect.cast_param(sa.bindparam(name), typed.kind, is_list=True)
            for name, typed in self._columns.items()
        ]

    def slots(self, names: Sequence[str]) -> tuple[Slot, ...]:
        """The parameters in the order of their names in the compiled text."""
        return tuple(self._slots[name] for name in names)


class Scope:
    """The columns that one SELECT can see, and predicates over them.

    `aliases` are the outputs of a grouping, for `having` and the order of groups. `base` is the
    alias of the object's table where an outer level has given it one.
    """

    def __init__(
        self,
        names: Names,
        object_: ObjectDef,
        aliases: Mapping[str, Typed] | None = None,
        *,
        base: str = "",
    ) -> None:
        self.names = names
        self.dialect = names.dialect
        self.base = base or names.alias("t")
        self._object = object_
        self._aliases = aliases or {}
        # A caller's path joins visible records only, a rule's path all of them: two joins.
        self._joins: dict[tuple[tuple[str, bool], ...], tuple[str, str, Hop]] = {}

    def column(self, column: Column) -> Typed:
        """The column, joining the tables on the way to it."""
        table = self._table_of(column)
        if column.formula is None:
            return Typed(column_of(table, column.field.column_name), kind_of(column.field))
        program, given = column.formula.program, column.formula.inputs
        inputs = [
            self._input(each, source.type)
            for each, source in zip(given, program.sources, strict=True)
        ]
        found = lower_formula(program, inputs, self.dialect.formulas)
        if not column.hops:
            return found
        there = Fragment("CASE WHEN {} IS NOT NULL THEN {} END", column_of(table, "id"), found.sql)
        return Typed(there, found.kind)

    def _input(self, source: Column | Param, type_: Type) -> Typed:
        if isinstance(source, Column):
            return self.column(source)
        kind = Kind(_FACTS[type_])
        return Typed(self.names.param(source, kind, TestOp.EQ), kind)

    def _table_of(self, column: Column) -> str:
        """The alias of the table that keeps the column's record."""
        table = self.base
        path: tuple[tuple[str, bool], ...] = ()
        for hop in column.hops:
            path = (*path, (hop.field.name, hop.visible == TRUE))
            if path not in self._joins:
                self._joins[path] = (self.names.alias("t"), table, hop)
            table = self._joins[path][0]
        return table

    def operand(self, operand: Operand) -> Typed:
        """A column, or an output of the grouping."""
        return self._aliases[operand.name] if isinstance(operand, Alias) else self.column(operand)

    def tables(self, first: sa.FromClause | None = None) -> sa.FromClause:
        """The FROM clause. Call it when every column has been asked for.

        `first`, when given, stands before the base table, each of its rows with each of the base's.
        """
        base = sa.table(table_name(self._object)).alias(self.base)
        tables: sa.FromClause = base if first is None else first.join(base, sa.true())
        for alias, parent, hop in self._joins.values():
            target = sa.table(table_name(hop.target)).alias(alias)
            condition = Fragment(
                "{} = {} AND {} = {}",
                column_of(alias, TENANT),
                self.names.tenant,
                column_of(alias, "id"),
                column_of(parent, hop.field.column_name),
            )
            tables = tables.outerjoin(target, sa.and_(condition, self._visible(alias, hop)))
        return tables

    def _visible(self, alias: str, hop: Hop) -> Expression:
        """That the record at the end of `hop` may be seen; where it may not, it counts as missing."""
        if hop.visible == TRUE:
            return sa.true()
        inner = Scope(self.names, hop.target, base=alias)
        visible = inner.predicate(hop.visible)
        if not inner._joins:
            return visible
        # A condition of a join cannot bring in further tables, so the record is looked up again.
        again = Scope(self.names, hop.target)
        rule = again.predicate(hop.visible)
        same = Fragment("{} = {}", column_of(again.base, "id"), column_of(alias, "id"))
        found = sa.select(Fragment("1")).select_from(again.tables())
        return Fragment("EXISTS ({})", found.where(again.of_tenant(), same, rule))

    def of_tenant(self) -> Expression:
        """That the record belongs to the caller's tenant."""
        return Fragment("{} = {}", column_of(self.base, TENANT), self.names.tenant)

    def predicate(self, predicate: Predicate) -> Expression:
        """`predicate` as SQL that is true for the same rows; elsewhere it is false or null."""
        match predicate:
            case Const(value):
                return sa.true() if value else sa.false()
            case Given(param):
                return self.names.param(param, Kind(Storage.BOOLEAN), TestOp.EQ)
            case AllOf(items):
                return sa.and_(sa.true(), *(self.predicate(item) for item in items))
            case AnyOf(items):
                return sa.or_(sa.false(), *(self.predicate(item) for item in items))
            case Negate(Test(left, TestOp.IS_NULL)):
                return Fragment("{} IS NOT NULL", self.operand(left).sql)
            case Negate(item):
                return Fragment("({}) IS NOT TRUE", self.predicate(item))
            case Test(left, TestOp.IS_NULL):
                return Fragment("{} IS NULL", self.operand(left).sql)
            case Test(left, TestOp.OVERLAPS as op, Param() as param):
                members = self.names.param(param, Kind(Storage.TEXT), TestOp.IN)
                return self.dialect.test(self.operand(left), op, members)
            case Test(left, op, Param() as param):
                value = self.operand(left)
                return self.dialect.test(value, op, self.names.param(param, value.kind, op))
            case Test(left, op, Column() as other):
                value, right = self.dialect.align(self.operand(left), self.column(other))
                return self.dialect.test(value, op, right.sql)
            case Test():
                raise AssertionError(f"a test without a right side: {predicate}")

    def sort_keys(self, order: Sequence[Order]) -> list[Expression]:
        """The ORDER BY terms."""
        return [
            self.dialect.order(
                self.operand(key.by).sql, descending=key.descending, is_nullable=is_nullable(key.by)
            )
            for key in order
        ]

    def after(self, order: Sequence[Order], position: Sequence[Param]) -> Expression:
        """That a record comes after the one whose sort keys are `position`."""
        keys = list(zip(order, position, strict=True))
        if _is_uniform(order) and not any(is_nullable(key.by) for key in order):
            return self._compare_rows(keys)
        found: Expression = sa.false()
        for key, param in reversed(keys):
            found = sa.or_(self._beyond(key, param), sa.and_(self._level(key, param), found))
        return found

    def stretches(self, order: Sequence[Order], position: Sequence[Param]) -> list[Expression]:
        """`after` where the first key may be null: disjoint parts, in no order.

        Together they are `after`, which as one condition no index answers, because nulls end the
        order. Each of these is one stretch of an index over the keys: what is left of the values,
        and the nulls or what is left of them. Those that the position rules out cost nothing.
        """
        first, *rest = zip(order, position, strict=True)
        key, param = first
        column = self.operand(key.by)
        op = TestOp.LT if key.descending else TestOp.GT
        value = self.names.param(param, column.kind, op)
        further = self.after(order[1:], position[1:]) if rest else sa.false()
        if _is_uniform(order) and not any(is_nullable(other.by) for other, _ in rest):
            values = self._compare_rows([first, *rest])  # not true of a null
        else:
            bound = TestOp.LTE if key.descending else TestOp.GTE
            bound_value = self.names.param(param, column.kind, bound)
            values = sa.and_(
                self.dialect.test(column, bound, bound_value),
                sa.or_(self.dialect.test(column, op, value), further),
            )
        within_nulls = sa.and_(Fragment("{} IS NULL AND {} IS NULL", value, column.sql), further)
        across = (
            "{} IS NULL AND {} IS NOT NULL" if key.descending else "{} IS NOT NULL AND {} IS NULL"
        )
        return [values, within_nulls, Fragment(across, value, column.sql)]

    def _compare_rows(self, keys: Sequence[tuple[Order, Param]]) -> Expression:
        """One comparison of rows, which an index over the keys answers directly."""
        op = TestOp.LT if keys[0][0].descending else TestOp.GT
        columns = [self.operand(key.by) for key, _ in keys]
        params = [
            self.names.param(param, column.kind, op)
            for column, (_, param) in zip(columns, keys, strict=True)
        ]
        left = _listed([column.sql for column in columns])
        return Fragment("{} < {}" if op is TestOp.LT else "{} > {}", left, _listed(params))

    def _beyond(self, key: Order, param: Param) -> Expression:
        """That the key comes strictly after `param`; nulls are last ascending, first descending."""
        column = self.operand(key.by)
        op = TestOp.LT if key.descending else TestOp.GT
        value = self.names.param(param, column.kind, op)
        further = self.dialect.test(column, op, value)
        if not is_nullable(key.by):
            return further
        crossing = (
            "({} IS NULL AND {} IS NOT NULL)"
            if key.descending
            else "({} IS NOT NULL AND {} IS NULL)"
        )
        return sa.or_(further, Fragment(crossing, value, column.sql))

    def _level(self, key: Order, param: Param) -> Expression:
        """That the key is `param`, two nulls being the same."""
        column = self.operand(key.by)
        value = self.names.param(param, column.kind, TestOp.EQ)
        same = self.dialect.test(column, TestOp.EQ, value)
        if not is_nullable(key.by):
            return same
        return sa.or_(same, Fragment("({} IS NULL AND {} IS NULL)", value, column.sql))


def column_of(table: str, name: str) -> Expression:
    """The column `name` of the table or sub-select with that alias."""
    return Fragment.of([f"{table}.{identifier(name)}"])


def is_nullable(operand: Operand) -> bool:
    """Whether the database may hold a null there."""
    if isinstance(operand, Alias):
        return True
    return bool(operand.hops) or operand.field.name not in NOT_NULL


def _is_uniform(order: Sequence[Order]) -> bool:
    return len({key.descending for key in order}) == 1


def _listed(items: Sequence[Expression]) -> Expression:
    parts: list[str | sa.ClauseElement] = []
    for at, item in enumerate(items):
        parts += [", " if at else "", item]
    return Fragment.of(["(", *parts, ")"])
