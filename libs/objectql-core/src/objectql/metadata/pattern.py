r"""Regular expressions of metadata, which are written for JavaScript, in time linear in the text.

Whoever may write metadata of one tenant must not be able to stop the kernels of all, and no check of
a pattern's form keeps a backtracking engine from doing so (`a*a*a*b`). RE2 never backtracks. What it
cannot do is refused, but for look-ahead behind `^`, which passwords are often described with: such a
condition is a pattern of its own (`^(?=.*\d).{8}` holds where `^.*\d` and `^.{8}` do).

Source: https://github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

import re2

MAX_PATTERN: Final = 500
_MAX_MEMORY: Final = 1 << 20
"""Bytes that one compiled pattern may take; RE2 refuses what would need more."""

_BACK_REFERENCE: Final = re.compile(r"(?<!\\)(?:\\\\)*\\(?:[1-9]|k<)")
_UNICODE_ESCAPE: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u([0-9A-Fa-f]{4})")
_LOOK_AROUND: Final = ("(?=", "(?!", "(?<=", "(?<!")
_QUANTIFIERS: Final = ("?", "*", "+", "{")

Matcher = Callable[[str], bool]
"""Whether a pattern is found in a text."""


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> Matcher:
    """What tells whether `new RegExp(text).test(value)` is true.

    Raises:
        ValueError: not a pattern, too long or too large, or in need of an engine that backtracks.

    """
    if len(text) > MAX_PATTERN:
        raise ValueError(f"a pattern has at most {MAX_PATTERN} characters")
    conditions, rest = _conditions(text)
    matches = _compile(rest)
    if not conditions:
        return matches
    tests = [(_compile(f"^(?:{inner})"), is_wanted) for inner, is_wanted in conditions]
    return lambda value: (
        matches(value) and all(test(value) is is_wanted for test, is_wanted in tests)
    )


def _compile(text: str) -> Matcher:
    if any(text.startswith(_LOOK_AROUND, index) for index, _, _ in _walk(text, 0)):
        raise ValueError("look-around is understood right behind a leading ^ only")
    if _BACK_REFERENCE.search(text):
        raise ValueError("back references take exponential time")
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    text = _UNICODE_ESCAPE.sub(r"\1\\x{\2}", text)
    try:
        re2.compile(text, options)  # a set would not tell what is wrong
    except re2.error as exc:
        raise ValueError(exc.args[0].decode()) from exc
    # A set of one: it answers in a quarter of the time of `search`, which makes a match object.
    only = re2.Set.SearchSet(options)
    only.Add(text)
    only.Compile()

    def matches(value: str) -> bool:
        try:
            return only.Match(value) is not None
        except UnicodeEncodeError:  # half a surrogate pair, which no pattern means
            return False

    return matches


def _conditions(text: str) -> tuple[list[tuple[str, bool]], str]:
    """The look-aheads behind a leading `^`, whether each must hold, and the pattern without them."""
    found: list[tuple[str, bool]] = []
    at = 1
    while text.startswith("^") and text.startswith(("(?=", "(?!"), at):
        end = _closing(text, at)
        found.append((text[at + 3 : end], text[at + 2] == "="))
        at = end + 1
        if text.startswith(_QUANTIFIERS, at):  # else it would be one of `^`
            raise ValueError("a look-ahead that is repeated is not understood")
    if not found:
        return [], text
    if any(depth == 0 and char == "|" for _, char, depth in _walk(text, at)):
        raise ValueError("look-ahead in one of several alternatives is not understood")
    return found, f"^{text[at:]}"


def _closing(text: str, at: int) -> int:
    """Where the group ends that begins at `at`."""
    for index, char, depth in _walk(text, at):
        if char == ")" and depth == 0:
            return index
    raise ValueError("missing )")


def _walk(text: str, at: int) -> Iterator[tuple[int, str, int]]:
    """What of a pattern from `at` on is syntax: where, the character, in how many groups."""
    depth, in_class, is_escaped = 0, False, False
    for index in range(at, len(text)):
        char = text[index]
        if is_escaped or char == "\\":
            is_escaped = not is_escaped
        elif in_class:
            in_class = char != "]"
        else:
            in_class = char == "["
            depth -= char == ")"
            yield index, char, depth
            depth += char == "("
