"""A query as it was asked: names are not yet checked, literals not yet typed.

This is also the wire form between gateway and kernel. Aliases of the three language generations
are resolved by `parse`; there is one spelling here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, TypeAlias

import msgspec

Path: TypeAlias = tuple[str, ...]
"""A field name, or lookups followed by one: `("origin", "tz")`."""

CountMode: TypeAlias = Literal["none", "estimated", "exact"]
SearchMode: TypeAlias = Literal["substring", "words"]
Granularity: TypeAlias = Literal["day", "week", "month", "quarter", "year"]
AggregateFunction: TypeAlias = Literal["count", "sum", "avg", "min", "max", "count_distinct"]


class Op(StrEnum):
    """Comparison operators. `$exists: b` is written `NULL` with `not b`."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NIN = "nin"
    BETWEEN = "between"
    CONTAINS = "contains"
    NOT_CONTAINS = "not_contains"
    STARTS_WITH = "starts_with"
    ENDS_WITH = "ends_with"
    ICONTAINS = "icontains"
    LIKE = "like"
    ILIKE = "ilike"
    NULL = "null"


class Slot(msgspec.Struct, frozen=True):
    """Where a literal was before `template` took it out.

    `nature` is what of the literal shapes the plan: a null, a list (with a null member, of one,
    or empty) and a scalar lead to different predicates; their values do not.
    """

    index: int
    nature: Literal[
        "null", "scalar", "list", "list_of_one", "list_with_null", "empty_list", "true", "false"
    ]


class Fact(msgspec.Struct, frozen=True):
    """A fact of the caller as a comparand, in rules only: `id`, `roles`, or a claim's dotted path.

    No comparison with a fact that the caller lacks holds, nor does the negation of one.
    """

    name: str


class Compare(msgspec.Struct, frozen=True, omit_defaults=True, tag="cmp"):
    """`path op value`, or `path op ref` where `ref` is another field of the same record.

    `at` is where the condition stands in the request (`where.$or.0.total`), for error messages;
    it takes no part in equality of meaning and is blanked by `template`.
    """

    path: Path
    op: Op
    value: Any = None
    ref: Path | None = None
    at: str = ""


class And(msgspec.Struct, frozen=True, tag="and"):
    """Every item; true when there is none."""

    items: tuple[Filter, ...]


class Or(msgspec.Struct, frozen=True, tag="or"):
    """Any item; false when there is none."""

    items: tuple[Filter, ...]


class Not(msgspec.Struct, frozen=True, tag="not"):
    """The complement: rows for which `item` is not true, nulls included."""

    item: Filter


Filter: TypeAlias = And | Or | Not | Compare


class Sort(msgspec.Struct, frozen=True, omit_defaults=True):
    """One sort key. Nulls come last ascending and first descending."""

    path: Path
    descending: bool = False


class Search(msgspec.Struct, frozen=True, omit_defaults=True):
    """Every term of `text` must occur in at least one of `fields` (default: the searchable ones).

    A term is found anywhere in a value, or, by `words`, only as a word of it (`search_words`).
    """

    text: Any  # str; after `template` a tuple of Slots, one for each term
    fields: tuple[str, ...] = ()
    mode: SearchMode = "substring"


class Group(msgspec.Struct, frozen=True, omit_defaults=True):
    """One group key; `alias` defaults to the dotted path."""

    path: Path
    granularity: Granularity | None = None
    alias: str = ""


class Aggregation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One aggregate; `count` without `path` counts rows. `alias` defaults to `function_field`."""

    function: AggregateFunction
    path: Path | None = None
    alias: str = ""
    filter: Filter | None = None


class Expand(msgspec.Struct, frozen=True, omit_defaults=True):
    """A relation to put in the place of its id; `query` narrows the related records.

    `name` is a lookup field of the object, or the name of a related list (to-many).
    """

    name: str
    query: Query


class Query(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that can be asked of one object.

    `fields` None means all readable ones. `limit` None means the caller's default, 0 means none.
    `after` is an opaque cursor of an earlier page with the same order and filter.
    """

    object: str
    fields: tuple[Path, ...] | None = None
    where: Filter | None = None
    search: Search | None = None
    order_by: tuple[Sort, ...] = ()
    limit: int | None = None
    offset: Any = 0  # int; a Slot after `template`
    after: Any = None  # str; a Slot after `template`
    expand: tuple[Expand, ...] = ()
    group_by: tuple[Group, ...] = ()
    aggregations: tuple[Aggregation, ...] = ()
    having: Filter | None = None
    distinct: bool = False
    count: CountMode = "none"
    include_deleted: bool = False

    @property
    def is_aggregate(self) -> bool:
        """Whether the answer is groups rather than records."""
        return bool(self.group_by or self.aggregations)
