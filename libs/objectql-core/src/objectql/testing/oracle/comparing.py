"""When two answers are the same."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any, Final

from objectql.testing.oracle.contents import Loose

_CLOSE: Final = 1e-12
"""Relative: databases divide and print doubles with other last bits."""


def parse_exactly(text: bytes | str) -> Any:
    """JSON, no digit lost."""
    return json.loads(text, parse_float=Decimal)


def is_same(ours: Any, theirs: Any) -> bool:
    """Whether the oracle's value `ours` and the JSON `theirs` of a database mean the same.

    Keys of records stand in the same order, those of JSON values (`Loose`) in any.
    """
    mine: type[Any] = ours.__class__
    other: type[Any] = theirs.__class__
    if other is dict and (mine is dict or mine is Loose):
        is_ordered = mine is Loose or list(ours) == list(theirs)
        return (
            is_ordered
            and ours.keys() == theirs.keys()
            and all(is_same(ours[key], theirs[key]) for key in ours)
        )
    if mine is other is list:
        return len(ours) == len(theirs) and all(map(is_same, ours, theirs))
    if other in {int, Decimal}:
        if mine is float:
            return math.isclose(ours, theirs, rel_tol=_CLOSE)
        return mine in {int, Decimal} and ours == theirs
    return mine is other and bool(ours == theirs)
