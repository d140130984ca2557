"""What a word is, for searches by words: one definition that every driver keeps to.

A word is a run of ASCII letters, ASCII digits and characters beyond ASCII; everything else in ASCII
separates words. ASCII letters have no case. There are no stems, stop words or accents folded: no
language is assumed. A run of more than `MAX_WORD` characters counts as several words, and only
the first `MAX_SEARCHED` characters of a value are looked at, so that an index can hold them.
"""

from __future__ import annotations

import re
from typing import Final

MAX_WORD: Final = 64
MAX_SEARCHED: Final = 100_000
ANY_ENDING: Final = "*"

_UPPER = "".join(map(chr, range(ord("A"), ord("Z") + 1)))
SEPARATORS: Final = "".join(c for c in map(chr, range(1, 128)) if not c.isalnum() and c != " ")
"""Every ASCII character that is not part of a word, but the blank."""

TRANSLATED: Final = (_UPPER + SEPARATORS, _UPPER.lower() + " " * len(SEPARATORS))
"""What each character of the first text becomes, so that only words and blanks are left."""

_TABLE = str.maketrans(*TRANSLATED)
_TABLE_OF_QUERIES = {code: to for code, to in _TABLE.items() if code != ord(ANY_ENDING)}
_WORD = re.compile(rf"[^ ]{{1,{MAX_WORD}}}")
_TERM = re.compile(rf"[^ *]{{1,{MAX_WORD}}}\*?")


def words_of(value: str) -> list[str]:
    """The words of a stored value."""
    return _WORD.findall(value[:MAX_SEARCHED].translate(_TABLE))


def terms_of(text: str) -> list[str]:
    """The words of a search text; one with a `*` at its end stands for all that begin so."""
    return _TERM.findall(text.translate(_TABLE_OF_QUERIES))


def has_word(value: str, term: str) -> bool:
    """Whether a stored value has the word that `term` is, or stands for."""
    if term.endswith(ANY_ENDING):
        return any(word.startswith(term[:-1]) for word in words_of(value))
    return term in words_of(value)
