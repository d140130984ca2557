"""Regular expressions of metadata, which are written for JavaScript, as Python ones."""

from __future__ import annotations

import re

MAX_PATTERN = 500

_NESTED_REPEAT = re.compile(r"\((?:[^()\\]|\\.)*[+*](?:[^()\\]|\\.)*\)(?:[+*]|\{\d+,\d*\})")


def compile_pattern(text: str) -> re.Pattern[str]:
    """The pattern that matches what `new RegExp(text)` matches; use it with `search`.

    Refused are patterns that repeat a repetition (`(a+)+`): on hostile input they take time that
    is exponential in its length.

    Raises:
        ValueError: not a pattern, too long, or of the refused kind.

    """
    if len(text) > MAX_PATTERN:
        raise ValueError(f"a pattern has at most {MAX_PATTERN} characters")
    if _NESTED_REPEAT.search(text):
        raise ValueError("a repetition inside a repetition takes exponential time")
    try:
        return re.compile(_translate(text), re.ASCII)
    except (re.error, OverflowError, RecursionError) as exc:
        raise ValueError(str(exc)) from exc


def _translate(text: str) -> str:
    """`$` means the very end in JavaScript, and `(?<name>` is `(?P<name>` in Python."""
    parts: list[str] = []
    in_class = escaped = False
    for index, char in enumerate(text):
        if escaped or char == "\\":
            escaped = not escaped
        elif char == "[":
            in_class = True
        elif char == "]":
            in_class = False
        elif char == "$" and not in_class:
            parts.append(r"\Z")
            continue
        elif char == "<" and text[index - 2 : index] == "(?" and text[index + 1] not in "=!":
            parts.append("P<")
            continue
        parts.append(char)
    return "".join(parts)
