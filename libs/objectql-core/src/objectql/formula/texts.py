"""Functions of texts. A character is a code point; positions count from 0.

Case is that of the alphabets in `CASES`, letter by letter, so that every database agrees.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from objectql.formula.numbers import whole_within
from objectql.metadata.pattern import compile_pattern

MAX_POSITION: Final = 1_000_000
MAX_PADDED: Final = 1000
MAX_LENGTH: Final = 65_536
"""Characters of a text that a formula makes; a longer one is blank, and is never made. Without
this, texts that are put in the places of others would grow by products."""
BLANKS: Final = " \t\n\r\v\f\u00a0\u2028\u2029\ufeff"


def _cases() -> tuple[str, str]:
    """The small letters of Latin, Greek and Cyrillic that have one capital, and those."""
    pairs = [
        (chr(code), chr(code).upper())
        for code in (
            *range(0x61, 0x7B),
            *range(0xE0, 0x180),
            *range(0x3AC, 0x3CF),
            *range(0x430, 0x460),
        )
        if len(chr(code).upper()) == 1 and chr(code).upper().lower() == chr(code)
    ]
    return "".join(small for small, _ in pairs), "".join(capital for _, capital in pairs)


CASES: Final = _cases()
_UPPER: Final = str.maketrans(*CASES)
_LOWER: Final = str.maketrans(CASES[1], CASES[0])


def concatenate(*parts: str | None) -> str | None:
    """All parts one after the other; a blank is the empty text."""
    return join_filled(None, *parts)


def join_filled(separator: str | None, *parts: str | None) -> str | None:
    """The parts that are not empty, with the separator between them."""
    between, filled = separator or "", [part for part in parts if part]
    count = sum(map(len, filled)) + len(between) * max(len(filled) - 1, 0)
    return between.join(filled) if count <= MAX_LENGTH else None


def upper(text: str) -> str:
    return text.translate(_UPPER)


def lower(text: str) -> str:
    return text.translate(_LOWER)


def trim(text: str) -> str:
    return text.strip(BLANKS)


def length(text: str) -> Decimal:
    return Decimal(len(text))


def first_of(text: str, count: Decimal) -> str:
    """The first `count` characters."""
    return text[: whole_within(count, 0, MAX_POSITION)]


def last_of(text: str, count: Decimal) -> str:
    """The last `count` characters."""
    wanted = whole_within(count, 0, MAX_POSITION)
    return text[-wanted:] if wanted else ""


def from_position(text: str, start: Decimal) -> str:
    """What begins at `start`."""
    return text[whole_within(start, 0, MAX_POSITION) :]


def position(text: str, part: str) -> Decimal:
    """Where `part` occurs first; -1 where it does not."""
    return Decimal(text.find(part))


def contains(text: str, part: str) -> bool:
    return part in text


def starts_with(text: str, part: str) -> bool:
    return text.startswith(part)


def ends_with(text: str, part: str) -> bool:
    return text.endswith(part)


def matches(text: str, pattern: str) -> bool:
    """Whether the pattern, which `compile_pattern` accepts, occurs in the text."""
    return compile_pattern(pattern)(text)


def replace_first(text: str, part: str, by: str) -> str | None:
    """`text` with the first occurrence of `part` replaced."""
    return _replaced(text, part, by, min(text.count(part), 1))


def replace_all(text: str, part: str, by: str) -> str | None:
    """`text` with every occurrence of `part`, which is not empty, replaced."""
    return _replaced(text, part, by, text.count(part))


def _replaced(text: str, part: str, by: str, times: int) -> str | None:
    """`text` with the first `times` occurrences of `part` replaced."""
    count = len(text) + times * (len(by) - len(part))
    return text.replace(part, by, times) if count <= MAX_LENGTH else None


def pad_start(text: str, width: Decimal, fill: str) -> str | None:
    """`text` filled up at its start; blank where it would become longer than `MAX_PADDED`."""
    missing = whole_within(width, 0, MAX_PADDED) - len(text)
    if missing <= 0 or not fill:
        return text
    return (fill * missing)[:missing] + text


def piece(text: str, separator: str, index: Decimal) -> str | None:
    """The piece at `index` between separators, which are not empty."""
    pieces = text.split(separator)
    at = whole_within(index, -1, MAX_POSITION)
    return pieces[at] if 0 <= at < len(pieces) else None


def list_length(members: list[str]) -> Decimal:
    return Decimal(len(members))


def list_has(members: list[str], member: str) -> bool:
    return member in members
