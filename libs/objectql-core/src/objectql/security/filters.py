"""The algebra of row rules: filters joined, widened and moved along lookups."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from objectql.query.ast import And, Compare, Fact, Filter, Not, Or, Path

NOBODY: Filter = Or(())
"""What no record satisfies."""

EVERY_RECORD: Filter = And(())


def either(*filters: Filter) -> Filter:
    """Any of `filters`; `NOBODY` when there are none."""
    distinct = tuple(dict.fromkeys(f for f in filters if f != NOBODY))
    if EVERY_RECORD in distinct:
        return EVERY_RECORD
    return distinct[0] if len(distinct) == 1 else Or(distinct)


def joined(*filters: Filter) -> Filter:
    """All of `filters`."""
    distinct = tuple(dict.fromkeys(f for f in filters if f != EVERY_RECORD))
    if NOBODY in distinct:
        return NOBODY
    return distinct[0] if len(distinct) == 1 else And(distinct)


def moved(filter_: Filter, via: Path) -> Filter:
    """`filter_` of the record that the lookups `via` lead to."""
    match filter_:
        case And(items):
            return And(tuple([moved(item, via) for item in items]))
        case Or(items):
            return Or(tuple([moved(item, via) for item in items]))
        case Not(item):
            return Not(moved(item, via))
        case Compare() if via:
            ref = None if filter_.ref is None else (*via, *filter_.ref)
            return msgspec.structs.replace(filter_, path=(*via, *filter_.path), ref=ref)
        case Compare():
            return filter_


def facts_in(filter_: Filter) -> Iterator[str]:
    """The names of the facts that `filter_` compares with."""
    match filter_:
        case And(items) | Or(items):
            for item in items:
                yield from facts_in(item)
        case Not(item):
            yield from facts_in(item)
        case Compare():
            if isinstance(filter_.value, Fact):
                yield filter_.value.name
