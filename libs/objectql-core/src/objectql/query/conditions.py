"""Filters to predicates: operators become primitive tests over typed operands.

Null safety is settled here. A comparison with a missing value is false and negation is the plain
complement, so `$ne` and `$nin` hold for records without a value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, cast

from objectql.errors import InvalidFilter, ObjectQLError
from objectql.metadata.types import NUMERIC, Storage
from objectql.query.ast import And, Compare, Fact, Filter, Not, Op, Or, Path, Slot
from objectql.query.bound import (
    FALSE,
    AllOf,
    AnyOf,
    Column,
    Given,
    Negate,
    Operand,
    Param,
    ParamSource,
    Predicate,
    Test,
    TestOp,
)
from objectql.query.scope import Params, Problems
from objectql.query.words import DOLLAR_OF

FindOperand: TypeAlias = Callable[[Path], Operand]

_TESTS: dict[Op, TestOp] = {
    Op.EQ: TestOp.EQ,
    Op.NE: TestOp.EQ,
    Op.GT: TestOp.GT,
    Op.GTE: TestOp.GTE,
    Op.LT: TestOp.LT,
    Op.LTE: TestOp.LTE,
}
_TEXT_TESTS: dict[Op, TestOp] = {
    Op.CONTAINS: TestOp.CONTAINS,
    Op.NOT_CONTAINS: TestOp.CONTAINS,
    Op.STARTS_WITH: TestOp.STARTS_WITH,
    Op.ENDS_WITH: TestOp.ENDS_WITH,
    Op.ICONTAINS: TestOp.ICONTAINS,
    Op.LIKE: TestOp.LIKE,
    Op.ILIKE: TestOp.ILIKE,
}
_NEGATIVE = frozenset({Op.NE, Op.NIN, Op.NOT_CONTAINS})
_ROUNDING: dict[Op, Literal["floor", "ceil"]] = {
    Op.GT: "floor",
    Op.LTE: "floor",
    Op.GTE: "ceil",
    Op.LT: "ceil",
}


class Conditions:
    """Binds filters; operands come from the caller, parameters and problems are shared."""

    def __init__(self, params: Params, problems: Problems) -> None:
        self.params = params
        self.problems = problems

    def bind(self, node: Filter, find: FindOperand, at: str) -> Predicate:
        """`node` over the operands that `find` knows; mistakes go to the shared problems."""
        match node:
            case And(items):
                return AllOf(tuple([self.bind(item, find, at) for item in items]))
            case Or(items):
                return AnyOf(tuple([self.bind(item, find, at) for item in items]))
            case Not(item) if names_fact(item):
                return self._bind_denial(item, find, at)
            case Not(item):
                return Negate(self.bind(item, find, at))
            case Compare():
                place = node.at or at
                if isinstance(node.value, Slot):
                    place = self.problems.place(node.value.index) or at
                try:
                    return self._bind_compare(node, find, place)
                except ObjectQLError as error:
                    self.problems.note(error, place)
                    return FALSE

    def _bind_denial(self, item: Filter, find: FindOperand, at: str) -> Predicate:
        """The negation of what names facts, moved down to the comparisons.

        Each of them then needs its own facts only, as `a = f or b` does when it is not denied.
        """
        match item:
            case And(items):
                return self.bind(Or(tuple([Not(each) for each in items])), find, at)
            case Or(items):
                return self.bind(And(tuple([Not(each) for each in items])), find, at)
            case Not(each):
                return self.bind(each, find, at)
            case Compare():
                denied = Negate(self.bind(item, find, at))
                return AllOf((self._given(item, find), denied))

    def _given(self, node: Compare, find: FindOperand) -> Predicate:
        """That the caller has the fact that `node` names."""
        param = self._fact(node.value, storage_of(find(node.path)), node.op)
        return Given(self.params.given(param))

    def _fact(self, fact: Fact, storage: Storage, op: Op) -> Param:
        """The parameter for a fact compared with a field; members of a list are text."""
        return self.params.context(
            f"user.{fact.name}",
            Storage.TEXT if storage is Storage.LIST else storage,
            is_list=op in {Op.IN, Op.NIN},
        )

    def _bind_compare(self, node: Compare, find: FindOperand, at: str) -> Predicate:
        left = find(node.path)
        if isinstance(node.value, Fact):
            found = self._bind_fact(left, node.op, node.value, at)
            if node.op in _NEGATIVE:
                return AllOf((self._given(node, find), Negate(found)))
            return found
        found = (
            self._bind_fields(left, node.op, find(node.ref), at)
            if node.ref is not None
            else self._bind_value(left, node.op, node.value, at)
        )
        return Negate(found) if node.op in _NEGATIVE else found

    def _bind_fields(self, left: Operand, op: Op, right: Operand, at: str) -> Predicate:
        test = _TESTS.get(op)
        if test is None:
            raise InvalidFilter(reason=f"{DOLLAR_OF[op]} cannot compare with a field", path=at)
        if not isinstance(right, Column):
            raise InvalidFilter(reason="an aggregate compares with values only", path=at)
        ours, theirs = storage_of(left), storage_of(right)
        if {ours, theirs} & {Storage.JSON, Storage.LIST} or (
            ours is not theirs and not {ours, theirs} <= NUMERIC
        ):
            raise InvalidFilter(
                reason=f"{name_of(left)} ({ours}) and {right.name} ({theirs}) do not compare",
                path=at,
            )
        return Test(left, test, right)

    def _bind_fact(self, left: Operand, op: Op, fact: Fact, at: str) -> Predicate:
        storage = storage_of(left)
        if op is Op.NULL or op is Op.BETWEEN or storage is Storage.JSON:
            raise InvalidFilter(
                reason=f"{DOLLAR_OF[op]} cannot compare {name_of(left)} with a fact of the caller",
                path=at,
            )
        param = self._fact(fact, storage, op)
        if op in _TEXT_TESTS:
            self._check_text(left, storage, op, at)
            return Test(left, _TEXT_TESTS[op], param)
        if storage is Storage.LIST and op in {Op.IN, Op.NIN}:
            return Test(left, TestOp.OVERLAPS, param)
        if storage is Storage.LIST:
            self._check_membership(left, op, at)
            return Test(left, TestOp.CONTAINS, param)
        return Test(left, TestOp.IN if op in {Op.IN, Op.NIN} else _TESTS[op], param)

    def _bind_value(self, left: Operand, op: Op, value: Any, at: str) -> Predicate:
        nature = value.nature if isinstance(value, Slot) else _nature(value)
        if op is Op.NULL:
            is_null = Test(left, TestOp.IS_NULL)
            return is_null if nature == "true" else Negate(is_null)
        storage = storage_of(left)
        if nature == "null":
            # An order comparison with nothing holds for nothing.
            return Test(left, TestOp.IS_NULL) if op in {Op.EQ, Op.NE} else FALSE
        if op in _TEXT_TESTS:
            return self._bind_text(left, storage, op, value, at)
        if storage is Storage.JSON:
            raise InvalidFilter(
                reason=f"{name_of(left)} holds structured values; only $null tests them", path=at
            )
        if storage is Storage.LIST:
            self._check_membership(left, op, at)
            member = self._param(value, Storage.TEXT, at)
            return Test(left, TestOp.CONTAINS, member)
        match op:
            case Op.IN | Op.NIN:
                if nature == "empty_list":
                    return FALSE
                if nature == "list_of_one":
                    return Test(left, TestOp.EQ, self._param(value, storage, at, part=0))
                test = Test(left, TestOp.IN, self._param(value, storage, at, shape="list"))
                if nature == "list_with_null":
                    return AnyOf((Test(left, TestOp.IS_NULL), test))
                return test
            case Op.BETWEEN:
                low = self._param(value, storage, at, part=0, round="ceil")
                high = self._param(
                    value,
                    storage,
                    at,
                    part=1,
                    round="floor",
                    day_end=storage is Storage.DATETIME,
                )
                return AllOf((Test(left, TestOp.GTE, low), Test(left, TestOp.LTE, high)))
            case _:
                param = self._param(
                    value,
                    storage,
                    at,
                    round=_ROUNDING.get(op, "exact"),
                    day_end=op is Op.LTE and storage is Storage.DATETIME,
                )
                return Test(left, _TESTS[op], param)

    def _check_membership(self, left: Operand, op: Op, at: str) -> None:
        if op not in {Op.EQ, Op.NE}:
            raise InvalidFilter(
                reason=f"{name_of(left)} holds a list; use $contains, joined by $or", path=at
            )

    def _check_text(self, left: Operand, storage: Storage, op: Op, at: str) -> None:
        is_membership = storage is Storage.LIST and op in {Op.CONTAINS, Op.NOT_CONTAINS}
        if storage is not Storage.TEXT and not is_membership:
            raise InvalidFilter(
                reason=f"{DOLLAR_OF[op]} needs a text field; {name_of(left)} is {storage}",
                path=at,
            )

    def _bind_text(self, left: Operand, storage: Storage, op: Op, value: Any, at: str) -> Predicate:
        self._check_text(left, storage, op, at)
        param = self._param(value, Storage.TEXT, at, verbatim=True)
        return Test(left, _TEXT_TESTS[op], param)

    def _param(self, value: Any, storage: Storage, at: str, **how: Any) -> Param:
        if isinstance(value, Slot):
            return self.params.add(ParamSource(storage, slot=value.index, **how))
        return self.params.add(ParamSource(storage, constant=value, at=at, **how))


def names_fact(node: Filter) -> bool:
    """Whether a comparison of `node` is with a fact of the caller."""
    match node:
        case And(items) | Or(items):
            return any(names_fact(item) for item in items)
        case Not(item):
            return names_fact(item)
        case Compare():
            return isinstance(node.value, Fact)


def storage_of(operand: Operand) -> Storage:
    """How the operand's values are kept."""
    return operand.field.storage if isinstance(operand, Column) else operand.storage


def name_of(operand: Operand) -> str:
    """The operand as a caller writes it."""
    return operand.name


def _nature(value: Any) -> str:
    match value:
        case None:
            return "null"
        case True:
            return "true"
        case False:
            return "false"
        case [] | ():
            return "empty_list"
        case list() | tuple():
            if None in value:
                return "list_with_null"
            return "list_of_one" if len(cast("list[Any]", value)) == 1 else "list"
        case _:
            return "scalar"
