"""Patterns match what SQL says they match, in time that no pattern makes exponential."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.query.like import is_like


def means(text: str, pattern: str) -> bool:
    """The definition, by letters: `%` stands for nothing, or for one letter and itself."""
    if not pattern:
        return not text
    if pattern[0] == "%":
        return means(text, pattern[1:]) or (bool(text) and means(text[1:], pattern))
    return bool(text) and pattern[0] in {"_", text[0]} and means(text[1:], pattern[1:])


TEXTS = st.text("ab\n", max_size=7)
PATTERNS = st.text("ab\n%_", max_size=7)


@given(TEXTS, PATTERNS)
def test_a_pattern_means_what_its_letters_say(text: str, pattern: str) -> None:
    assert is_like(text, pattern) == means(text, pattern)


@pytest.mark.parametrize(
    ("text", "pattern", "is_so"),
    [
        ("a.c", "a.c", True),
        ("abc", "a.c", False),
        ("50% off", "50\\% off", False),
        ("ab", "a%b%b", False),
        ("aba", "ab%ba", False),
        ("ünü", "_n_", True),
    ],
)
def test_only_two_letters_are_special_and_parts_do_not_overlap(
    text: str, pattern: str, is_so: bool
) -> None:
    assert is_like(text, pattern) is is_so


@pytest.mark.parametrize("wanted", ["a", "a_", "_a"])
def test_many_wildcards_cost_no_more_than_their_number(wanted: str) -> None:
    """A matcher that goes back takes hours for this."""
    text, pattern = "a" * 5000, f"%{wanted}" * 500 + "%b"
    before = time.process_time()
    assert not is_like(text, pattern)
    assert is_like(text, pattern.removesuffix("b"))
    assert time.process_time() - before < 5
