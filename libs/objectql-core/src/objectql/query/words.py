"""The words of the query language: operators of each dialect, aliases of keys, near misses."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from objectql.query.ast import Op

MAX_DEPTH = 32
"""How deep conditions may nest, in every form of a filter."""

MAX_CONDITIONS = 500
"""How many conditions one filter may have."""

MAX_MEMBERS = 5_000
"""How many members a list comparand may have."""

MAX_PATTERN = 500
"""How many characters a pattern of `$like` may have: what a match costs grows with it, per row."""

DOLLAR_OPERATORS: dict[str, Op] = {
    "$eq": Op.EQ,
    "$ne": Op.NE,
    "$gt": Op.GT,
    "$gte": Op.GTE,
    "$lt": Op.LT,
    "$lte": Op.LTE,
    "$in": Op.IN,
    "$nin": Op.NIN,
    "$between": Op.BETWEEN,
    "$contains": Op.CONTAINS,
    "$notContains": Op.NOT_CONTAINS,
    "$startsWith": Op.STARTS_WITH,
    "$endsWith": Op.ENDS_WITH,
    "$icontains": Op.ICONTAINS,
    "$like": Op.LIKE,
    "$ilike": Op.ILIKE,
    "$null": Op.NULL,
}
"""Operators of the object form. `$exists` and `$exist` are `$null` turned round."""

EXISTS_OPERATORS = frozenset({"$exists", "$exist"})
RETIRED_OPERATORS = frozenset({"$regex", "$options"})

DOLLAR_OF: dict[Op, str] = {op: word for word, op in DOLLAR_OPERATORS.items()}

TUPLE_OPERATORS: dict[str, Op] = {
    word: op
    for op, words in {
        Op.EQ: "= == eq equals is",
        Op.NE: "!= <> ne neq not_equals notequals",
        Op.GT: "> gt greater_than greaterthan after",
        Op.GTE: ">= gte greater_than_or_equal greaterorequal greaterthanorequal",
        Op.LT: "< lt less_than lessthan before",
        Op.LTE: "<= lte less_than_or_equal lessorequal lessthanorequal",
        Op.IN: "in",
        Op.NIN: "nin not_in notin",
        Op.CONTAINS: "contains",
        Op.NOT_CONTAINS: "not_contains notcontains",
        Op.STARTS_WITH: "starts_with startswith",
        Op.ENDS_WITH: "ends_with endswith",
        Op.ICONTAINS: "icontains",
        Op.LIKE: "like",
        Op.ILIKE: "ilike",
        Op.BETWEEN: "between",
    }.items()
    for word in words.split()
}
"""Operator words of the tuple form, lower case, without the unary ones."""

NULL_WORDS: dict[str, bool] = {
    **dict.fromkeys("is_null isnull is_empty isempty".split(), True),
    **dict.fromkeys("is_not_null isnotnull is_not_empty isnotempty".split(), False),
}
"""Unary words of the tuple form and whether they ask for no value."""

QUERY_KEYS: dict[str, str] = {
    alias: key
    for key, aliases in {
        "where": "where filters filter $filter",
        "fields": "fields select $select",
        "order_by": "orderBy order_by orderby sort $orderby",
        "limit": "limit top $top",
        "offset": "offset skip $skip",
        "expand": "expand populate $expand",
        "aggregations": "aggregations aggregate",
        "group_by": "groupBy group_by groupby",
        "having": "having",
        "distinct": "distinct",
        "search": "search $search",
        "search_fields": "searchFields search_fields",
        "search_mode": "searchMode search_mode",
        "count": "count $count",
        "after": "after $after cursor",
        "include_deleted": "includeDeleted include_deleted",
    }.items()
    for alias in aliases.split()
}
"""Keys of a query document, with every alias of the three generations."""


def near_misses(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Up to three of `names` that `name` may have been meant to be, best first."""
    return tuple(get_close_matches(name, list(names), n=3, cutoff=0.6))
