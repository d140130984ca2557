from __future__ import annotations

import math
from itertools import permutations

import pytest
from bench.figures import chance, median, order, ratios, spread, verdict
from hypothesis import given
from hypothesis import strategies as st

Values = st.lists(st.floats(min_value=0.1, max_value=1e6), min_size=2, max_size=6)


def test_rounds_that_do_not_overlap_are_a_change() -> None:
    assert verdict([100, 101, 102, 103, 104], [120, 121, 122, 123, 124]) == "more"
    assert verdict([120, 121, 122, 123, 124], [100, 101, 102, 103, 104]) == "less"


def test_overlapping_rounds_are_noise() -> None:
    assert verdict([100, 110, 120, 130, 140], [105, 115, 125, 135, 160]) == "same"


def test_a_certain_but_small_change_is_not_told() -> None:
    assert verdict([100, 101, 102, 103, 104], [105, 105.5, 106, 106.5, 107]) == "same"


def test_three_rounds_never_suffice() -> None:
    assert verdict([1, 1, 1], [9, 9, 9]) == "same"


def test_the_chance_of_five_apart_from_five_is_known() -> None:
    assert chance([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(2 / math.comb(10, 5))


def test_many_rounds_use_the_normal_distribution() -> None:
    first = [float(n) for n in range(9)]
    assert chance(first, [n + 9.0 for n in range(9)]) < 0.001
    assert chance(first, [n + 0.5 for n in range(9)]) > 0.5


@given(Values, Values)
def test_the_chance_is_one_and_symmetric_and_counts_every_order(
    first: list[float], second: list[float]
) -> None:
    found = chance(first, second)
    assert 0 < found <= 1
    assert found == pytest.approx(chance(second, first))
    assert chance(first, first) == 1


def test_the_chance_is_that_of_all_orders_of_the_values() -> None:
    values, size = [1.0, 2.0, 2.0, 5.0, 7.0], 2

    def distance(order: tuple[float, ...]) -> float:
        wins = [(a > b) + (a == b) / 2 for a in order[:size] for b in order[size:]]
        return abs(sum(wins) - len(wins) / 2)

    given = (1.0, 2.0, 2.0, 5.0, 7.0)
    every = [distance(each) for each in permutations(values)]
    expected = sum(each >= distance(given) for each in every) / len(every)
    assert chance(given[:size], given[size:]) == pytest.approx(expected)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_order_is_the_power_of_the_growth(power: float) -> None:
    sizes = [10, 100, 1000]
    assert order(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def test_the_order_is_that_of_the_end() -> None:
    assert order([1, 10, 100], [50, 50, 500]) == pytest.approx(1)


def test_ratios_pair_the_rounds() -> None:
    assert ratios([2, 9], [1, 3]) == [2, 3]


def test_the_spread_is_a_part_of_the_median() -> None:
    assert spread([90, 95, 100, 105, 110]) == pytest.approx(0.05)
    assert spread([100]) == 0
    assert median([]) == 0
