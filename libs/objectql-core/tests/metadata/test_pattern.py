"""Patterns mean what they mean to JavaScript, and never take long."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectql.metadata.pattern import MAX_PATTERN, compile_pattern


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("b", "abc", "acd"),
        ("^b$", "b", "b\n"),
        (r"^\d+$", "042", "٠٤٢"),
        (r"^\u00e9\\u$", "é\\u", "e\\u"),
        ("(?<year>[0-9]{4})-[0-9]{2}", "in 2026-11", "in 26-11"),
        (r"^[A-Z]{2}\/\-x$", "AB/-x", "ab/-x"),
        (r"^(?=.*\d)(?!.*\s).{8,}$", "passw0rd", "password"),
        (r"^(?=.*\d)(?!.*\s).{8,}$", "12345678", "1234 678"),
        (r"^(?=[)]|\)|b).$", "b", "c"),
        (r"\(?=x", "=x", "x"),
        (r"^[(?=]$", "?", "x"),
        (r"^\\1$", r"\1", "1"),
    ],
)
def test_a_pattern_finds_what_javascript_finds(pattern: str, matching: str, other: str) -> None:
    matches = compile_pattern(pattern)
    assert matches(matching)
    assert not matches(other)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("[", "missing ]"),
        ("a" * (MAX_PATTERN + 1), "at most"),
        (r"(a)\1", "back references"),
        (r"(a)\\\1", "back references"),
        (r"(?<x>a)\k<x>", "back references"),
        ("a(?=b)", "look-around"),
        ("^a(?<!b)", "look-around"),
        (r"\\(?=b)", "look-around"),
        ("^(?=.*a)?foo", "repeated"),
        ("^(?!a){2}b", "repeated"),
        ("^(?=a)b|c", "alternatives"),
        ("^(?=a", r"missing \)"),
        ("a{2000}", "invalid repetition size"),
        (r"(\w{1000}){1000}", "repetition size"),
    ],
)
def test_a_pattern_that_needs_another_engine_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        compile_pattern(pattern)


def test_half_a_surrogate_pair_matches_nothing() -> None:
    assert not compile_pattern("")("\ud800")


@pytest.mark.parametrize("pattern", ["a*a*a*a*a*a*a*b", "(a+)+b", "(a|a)*b", "(.*,){20}x"])
def test_no_pattern_takes_exponential_time(pattern: str) -> None:
    begun = time.process_time()
    assert not compile_pattern(pattern)("a" * 20_000)
    assert time.process_time() - begun < 2


_PARTS = st.sampled_from(["a", "b", "ab?", "[ab]", "(a|b)", "a*", "b+", ".", "a{2}", "(?:ba)?"])


def _joined(start: str, parts: list[str], end: str) -> str:
    return start + "".join(parts) + end


_PATTERNS = st.builds(
    _joined,
    st.sampled_from(["", "^", "^(?=a)", "^(?!b)", "^(?=.*b)(?!.*aa)"]),
    st.lists(_PARTS, max_size=5),
    st.sampled_from(["", "$"]),
)


@given(pattern=_PATTERNS, text=st.text("abc", max_size=8))
def test_what_both_engines_can_do_they_do_alike(pattern: str, text: str) -> None:
    assert compile_pattern(pattern)(text) is (re.search(pattern, text) is not None)
