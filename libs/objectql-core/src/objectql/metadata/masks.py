"""What is shown of a value whose reader may not see it in full: `****-{last4}`.

A mask is text in which `{firstN}` and `{lastN}` stand for the first and the last N characters
(Unicode code points) of the value. A value that is not longer than all of them together would be
told by them, so of it only the text between them is shown. A missing value stays missing.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

import msgspec

from objectql.values import Value

MAX_FORMAT: Final = 100

_PIECE = re.compile(r"\{(first|last)([1-9][0-9]?)\}")


class Piece(msgspec.Struct, frozen=True):
    """So many characters of one end of the value."""

    end: Literal["first", "last"]
    count: int


MaskPart: TypeAlias = str | Piece


class Mask(msgspec.Struct, frozen=True):
    """A mask's format, taken apart: text, and pieces of the value."""

    parts: tuple[MaskPart, ...]

    @property
    def told(self) -> int:
        """How many characters of a value are shown."""
        return sum(part.count for part in self.parts if isinstance(part, Piece))

    @property
    def text(self) -> str:
        """What is shown of every value, however short."""
        return "".join(part for part in self.parts if isinstance(part, str))

    def of(self, value: Value) -> str | None:
        """What is shown of `value`, which is text where the mask has pieces."""
        if value is None:
            return None
        if not self.told or not isinstance(value, str) or len(value) <= self.told:
            return self.text
        return "".join(part if isinstance(part, str) else _cut(value, part) for part in self.parts)

    def may_have_made(self, value: object) -> bool:
        """Whether `value` looks like what the mask shows, so that nobody can mean it as a value.

        A mask without text of its own may show anything.
        """
        if not isinstance(value, str) or not self.text:
            return False
        parts = (
            re.escape(part) if isinstance(part, str) else f".{{0,{part.count}}}"
            for part in self.parts
        )
        return re.fullmatch("".join(parts), value, re.DOTALL) is not None


def _cut(value: str, piece: Piece) -> str:
    return value[: piece.count] if piece.end == "first" else value[-piece.count :]


def parse_mask(text: str) -> Mask:
    """The mask that `text` describes.

    Raises:
        ValueError: it is empty, too long, or has braces that are no piece.

    """
    if not text or len(text) > MAX_FORMAT or not text.isprintable():
        raise ValueError(f"a mask has 1 to {MAX_FORMAT} printable characters")
    parts: list[MaskPart] = []
    at = 0
    for found in _PIECE.finditer(text):
        parts.append(text[at : found.start()])
        parts.append(Piece("first" if found[1] == "first" else "last", int(found[2])))
        at = found.end()
    parts.append(text[at:])
    if any(isinstance(part, str) and not {"{", "}"}.isdisjoint(part) for part in parts):
        raise ValueError("in braces stand only first or last and a number from 1 to 99")
    return Mask(tuple(part for part in parts if part))
