"""What repeated measurements say: medians, how cost grows, and what is more than noise."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import combinations
from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["more", "less", "same"]

CHANCE = 0.02
"""How often equal things may be called different. Of five rounds against five only those that do
not overlap, or by one place at most, are so rare."""

LEAST_CHANGE = 0.05
"""A smaller part of the old median is never told: nobody would act on it."""

ENUMERATED = 8
"""Up to so many values on a side the chance is counted out; beyond it, the normal distribution."""


def median(values: Sequence[float]) -> float:
    """The middle of the rounds; 0 of none."""
    return statistics.median(values) if values else 0.0


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Round by round: each pair was measured one after the other, so the machine was alike."""
    return [a / b for a, b in zip(ours, theirs, strict=True) if b]


def spread(values: Sequence[float]) -> float:
    """Half the distance between the quartiles, as a part of the median; 0 of fewer than two."""
    middle = median(values)
    if len(values) < 2 or not middle:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / abs(middle)


def verdict(old: Sequence[float], new: Sequence[float]) -> Verdict:
    """Whether `new` is beyond noise another than `old`, by rank and by size of the change."""
    before, after = median(old), median(new)
    if not before or abs(after / before - 1) < LEAST_CHANGE or chance(old, new) > CHANCE:
        return "same"
    return "more" if after > before else "less"


def chance(first: Sequence[float], second: Sequence[float]) -> float:
    """How often equal things differ in rank at least as much as these two; two-sided.

    Source: H. Mann, D. Whitney, "On a test of whether one of two random variables is
    stochastically larger than the other", 1947. It assumes nothing of how times are distributed.
    """
    m, n = len(first), len(second)
    if not m or not n:
        return 1.0
    values = sorted((*first, *second))
    # Equal values share the mean of their places.
    ranks = {v: values.index(v) + (values.count(v) + 1) / 2 for v in values}
    middle = m * (m + n + 1) / 2
    found = abs(sum(ranks[v] for v in first) - middle)
    if max(m, n) > ENUMERATED:
        deviation = math.sqrt(m * n * (m + n + 1) / 12)
        return math.erfc(found / deviation / math.sqrt(2))
    places = [ranks[v] for v in values]
    sums = [abs(sum(chosen) - middle) for chosen in combinations(places, m)]
    return sum(1 for each in sums if each >= found - 1e-9) / len(sums)


def order(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The `k` of cost = c * size**k between the last two points: 0 is flat, 1 is proportional.

    The end counts, because there what grows outweighs what every request costs anyway.
    """
    (small, large), (low, high) = sizes[-2:], costs[-2:]
    return math.log(high / low) / math.log(large / small)
