"""`LIKE`: `%` is any text, `_` any character, and there is no escape character.

What stands between two `%` is looked for from left to right, and the first place is always good
enough: whatever follows finds at least as much text behind it. So nothing is ever tried again, and
a pattern costs at most its length times the text's, where a regular expression that may go back
takes time exponential in the number of `%`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple


class _Part(NamedTuple):
    """What stands between two `%`; `expression` where it has a `_`."""

    text: str
    expression: re.Pattern[str] | None

    def end_after(self, text: str, start: int) -> int:
        """Where its first occurrence from `start` on ends; -1 where there is none."""
        if self.expression is None:
            at = text.find(self.text, start)
            return -1 if at < 0 else at + len(self.text)
        found = self.expression.search(text, start)
        return -1 if found is None else found.end()

    def is_at(self, text: str, start: int) -> bool:
        """Whether it occurs at `start`."""
        if self.expression is None:
            return text.startswith(self.text, start)
        return self.expression.match(text, start) is not None


def is_like(text: str, pattern: str) -> bool:
    """Whether `text` matches `pattern` as a whole."""
    parts = _parts(pattern)
    first, last = parts[0], parts[-1]
    if len(parts) == 1:
        return len(text) == len(first.text) and first.is_at(text, 0)
    if not first.is_at(text, 0):
        return False
    at = len(first.text)
    for part in parts[1:-1]:
        at = part.end_after(text, at)
        if at < 0:
            return False
    end = len(text) - len(last.text)
    return at <= end and last.is_at(text, end)


@lru_cache(maxsize=256)
def _parts(pattern: str) -> tuple[_Part, ...]:
    return tuple(_Part(text, _expression(text)) for text in re.sub("%+", "%", pattern).split("%"))


def _expression(text: str) -> re.Pattern[str] | None:
    if "_" not in text:
        return None
    return re.compile("".join("." if char == "_" else re.escape(char) for char in text), re.DOTALL)
