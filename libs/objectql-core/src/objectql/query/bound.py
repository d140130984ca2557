"""A query after `bind`: every name is a field, every literal a parameter, the tenant is in it.

Nothing after this stage may fail for the caller's reasons. Drivers lower these types and
`interpret` evaluates them; both must agree, row by row and byte by byte of meaning.

All tests are two-valued: a comparison with a missing value is false, and `Negate` is the plain
complement. SQL lowering must therefore not let `NULL` through a negation.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, TypeAlias

import msgspec

from objectql.formula.program import Program
from objectql.metadata.masks import Mask
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.types import Storage
from objectql.query.ast import AggregateFunction, CountMode, Granularity

Derivation: TypeAlias = Literal[
    "union",
    "intersection",
    "greatest_of_all",
    "least_of_all",
    "greatest_known",
    "least_known",
    "is_given",
]
"""How a parameter follows from others; see `merges.combine`."""

ColumnKey: TypeAlias = tuple[str, tuple[bool, ...]]


class Param(msgspec.Struct, frozen=True):
    """A value given at execution: the `index`th of the plan's parameters."""

    index: int


class ParamSource(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a parameter's value comes from and what canonical form it takes.

    Exactly one of `slot` (a literal of the request, with `part` for the bounds of `between` and
    the only member of a list), `context` (`tenant`, `user.id`, `user.<claim>`), `constant` (fixed
    by a row rule) and `of` (earlier parameters, from which it follows by `derive`) is set. A fact
    of the caller that does not fit the storage, or is no list where `shape` is `list`, is missing.
    `shape` says what is done to the literal: `scalar` takes it, `list` takes its members without
    nulls, `cursor` takes sort key `part` of a page position whose query has `digest`, and `labels`
    takes the values of those `options` (label, value) whose label contains the text, and
    `labels_by_word` of those that have it as a word.
    `day_end` widens a bare day on a datetime field to its last millisecond; `round` makes a
    fraction fit an integer column without changing what an order comparison selects; `verbatim`
    text is never a token such as `{today}`. A `constant` that `is_settled` is canonical already. `at` is the place in the request, for errors.
    """

    storage: Storage
    slot: int | None = None
    part: int | None = None
    context: str | None = None
    shape: Literal["scalar", "list", "cursor", "labels", "labels_by_word"] = "scalar"
    day_end: bool = False
    at: str = ""
    constant: Any = None
    round: Literal["exact", "floor", "ceil"] = "exact"
    verbatim: bool = False
    options: tuple[tuple[str, str], ...] = ()
    digest: str = ""
    of: tuple[int, ...] = ()
    derive: Derivation = "union"
    is_settled: bool = False


class Const(msgspec.Struct, frozen=True):
    value: bool


class Hop(msgspec.Struct, frozen=True, omit_defaults=True):
    """One lookup followed: from `field` to the record of `target` with that id, same tenant.

    `visible` is over the fields of `target` (its row rules, and that it is not deleted); a record
    that does not satisfy it counts as missing, or filters would tell what cannot be read.
    """

    field: FieldDef
    target: ObjectDef
    visible: Predicate = Const(value=True)


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """A field of the queried object, or of one reached through `hops`.

    A formula field has a `formula`; where `hops` lead nowhere it is missing like any other.
    """

    field: FieldDef
    hops: tuple[Hop, ...] = ()
    formula: Computation | None = None

    @property
    def name(self) -> str:
        """The dotted path, as a caller writes it."""
        return ".".join([*(hop.field.name for hop in self.hops), self.field.name])

    @property
    def key(self) -> ColumnKey:
        """Equal for equal columns within one query.

        A rule may follow a lookup to records that a caller's path does not see: two columns.
        """
        return self.name, tuple(hop.visible == TRUE for hop in self.hops)


class Computation(msgspec.Struct, frozen=True):
    """What a formula field is computed of: an input for each source of the program.

    Columns among them are stored ones, and begin with the hops of the formula's own.
    """

    program: Program
    inputs: tuple[Column | Param, ...]


class Alias(msgspec.Struct, frozen=True):
    """An output of the grouping: a group key or an aggregate, by its alias."""

    name: str
    storage: Storage


Operand: TypeAlias = Column | Alias


class TestOp(StrEnum):
    """Primitive tests. Text tests are case-sensitive unless they start with `I` (ASCII fold)."""

    __test__ = False  # not a test class

    EQ = "eq"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    IN = "in"
    IS_NULL = "is_null"
    CONTAINS = "contains"
    """Text: substring. List: membership."""
    OVERLAPS = "overlaps"
    """Two lists have a member in common."""
    ICONTAINS = "icontains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    LIKE = "like"
    ILIKE = "ilike"
    HAS_WORD = "has_word"
    """A word of the text, or the beginning of one (`search_words.has_word`)."""


class Test(msgspec.Struct, frozen=True, omit_defaults=True):
    """`left op right`. `IS_NULL` has no right side; `IN` has a list parameter."""

    __test__ = False

    left: Operand
    op: TestOp
    right: Param | Column | None = None


class AllOf(msgspec.Struct, frozen=True):
    items: tuple[Predicate, ...]


class AnyOf(msgspec.Struct, frozen=True):
    items: tuple[Predicate, ...]


class Negate(msgspec.Struct, frozen=True):
    item: Predicate


class Given(msgspec.Struct, frozen=True):
    """That the caller has a fact: `param` is true, or null (`ParamSource.derive` `is_given`)."""

    param: Param


Predicate: TypeAlias = Const | Test | AllOf | AnyOf | Negate | Given

TRUE = Const(value=True)
FALSE = Const(value=False)


class Output(msgspec.Struct, frozen=True, omit_defaults=True):
    """One key of the answer; of a masked one the mask makes the text that is shown."""

    name: str
    column: Column
    mask: Mask | None = None


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """One sort key; the last one of a row query is always `id`, so the order is total."""

    by: Operand
    descending: bool = False


class BoundExpand(msgspec.Struct, frozen=True):
    """A relation of the answer.

    `one`: the record that `lookup` points to stands in its place, or null. `many`: the records
    whose ids are in `lookup` (a multiple lookup), in that order. `inverse`: the records of the
    query's object whose `lookup` points here; when its query counts, `count_name` is one more key
    of the answer: how many there are, whatever its limit.
    """

    name: str
    kind: Literal["one", "many", "inverse"]
    lookup: FieldDef
    query: BoundQuery


def count_name(relation: BoundExpand) -> str:
    """The key that tells how many records a counted list has; no field can be called so."""
    return f"{relation.name}@count"


class GroupKey(msgspec.Struct, frozen=True, omit_defaults=True):
    alias: str
    column: Column
    granularity: Granularity | None = None


class Aggregate(msgspec.Struct, frozen=True, omit_defaults=True):
    """`column` None counts rows; `filter` keeps the rows that take part."""

    alias: str
    function: AggregateFunction
    storage: Storage
    column: Column | None = None
    filter: Predicate = TRUE


class Grouping(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows are grouped by `keys` (none: exactly one group), then `having` selects groups."""

    keys: tuple[GroupKey, ...] = ()
    aggregates: tuple[Aggregate, ...] = ()
    having: Predicate = TRUE


class BoundQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to fetch. `tenant` is not part of `where` so that no rewrite can drop it.

    An item has the keys of `outputs`, then those of `expand`; `outputs` never names a relation
    that is expanded. A grouped query has no outputs: its items are the keys and aggregates.

    `where` includes the caller's row rules and, for objects with soft delete, that the record is
    not deleted. `after` holds one parameter per sort key: the position to go on from. `params`
    belongs to the outermost query; expanded queries share it.
    """

    object: ObjectDef
    tenant: Param
    outputs: tuple[Output, ...]
    where: Predicate = TRUE
    order: tuple[Order, ...] = ()
    limit: int | None = None
    offset: Param | None = None
    after: tuple[Param, ...] = ()
    expand: tuple[BoundExpand, ...] = ()
    grouping: Grouping | None = None
    distinct: bool = False
    count: CountMode = "none"
    params: tuple[ParamSource, ...] = ()
