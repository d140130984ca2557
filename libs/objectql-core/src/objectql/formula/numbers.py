"""Numbers of formulas: exact decimals with `PLACES` digits after the point.

Every field's number, a double too, is read as people write it (`0.1` is a tenth), so sums of money
are exact and all databases come to the same digits. What is farther from zero than `LIMIT` is no
number: a product or power beyond it is blank, as is a quotient by zero.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from typing import Final

PLACES: Final = 20
LIMIT: Final = Decimal(10) ** 38
MAX_EXPONENT: Final = 64
MAX_ROUNDED: Final = 20
"""Places to which a number may be rounded, before or after its point."""

_CONTEXT: Final = Context(prec=5000, Emax=999999, Emin=-999999)
"""Exact for what the limits above allow: a power has at most 64 * 58 digits."""
_UNIT: Final = Decimal(1).scaleb(-PLACES)
_HALF: Final = Decimal("0.5")
_TEXT: Final = re.compile(r"[ \t\n\r]*([+-]?[0-9]{1,37}(?:\.[0-9]{0,20})?)[ \t\n\r]*\Z")
_START: Final = re.compile(r"[ \t\n\r]*([+-]?[0-9]{1,37}(?:\.[0-9]{1,20})?)")
_WHOLE: Final = re.compile(r"[ \t\n\r]*([+-]?[0-9]{1,37})")


def limited(value: Decimal) -> Decimal | None:
    """`value` with `PLACES` digits after the point; None beyond `LIMIT`."""
    if int(value.as_tuple().exponent) < -PLACES:
        if value.adjusted() > _CONTEXT.prec - PLACES - 2:
            return None
        value = value.quantize(_UNIT, ROUND_HALF_UP, _CONTEXT)
    return value if value.copy_abs() < LIMIT else None


def number_of(value: float | Decimal) -> Decimal | None:
    """A field's number; None where it is out of range."""
    return limited(value if isinstance(value, Decimal) else Decimal(str(value)))


def text_of_number(value: Decimal) -> str:
    """The shortest way to write it, without an exponent: `10`, `0.5`."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def number_of_text(text: str) -> Decimal | None:
    """The number that the whole text writes, or None."""
    return _first(_TEXT, text)


def parse_float(text: str) -> Decimal | None:
    """The number that the text begins with, or None."""
    return _first(_START, text)


def parse_int(text: str) -> Decimal | None:
    """The whole number that the text begins with, or None."""
    return _first(_WHOLE, text)


def _first(pattern: re.Pattern[str], text: str) -> Decimal | None:
    match = pattern.match(text)
    return None if match is None else Decimal(match[1])


def add(left: Decimal, right: Decimal) -> Decimal:
    return _CONTEXT.add(left, right)


def subtract(left: Decimal, right: Decimal) -> Decimal:
    return _CONTEXT.subtract(left, right)


def multiply(left: Decimal, right: Decimal) -> Decimal | None:
    return limited(_CONTEXT.multiply(left, right))


def divide(left: Decimal, right: Decimal) -> Decimal | None:
    """The quotient, cut after `PLACES` digits."""
    if not right:
        return None
    whole = _CONTEXT.divide_int(left.scaleb(PLACES, _CONTEXT), right)
    return limited(whole.scaleb(-PLACES, _CONTEXT))


def remainder(left: Decimal, right: Decimal) -> Decimal | None:
    """What is left of `left`, with its sign."""
    return _CONTEXT.remainder(left, right) if right else None


def power(base: Decimal, exponent: Decimal) -> Decimal | None:
    """`base` to a whole exponent of at most `MAX_EXPONENT`."""
    times = abs(int(exponent))
    if times > MAX_EXPONENT or base.copy_abs() >= LIMIT:
        return None
    found = Decimal(1)
    for _ in range(times):
        found = _CONTEXT.multiply(found, base)
    found = limited(found)
    return found if found is None or exponent >= 0 else divide(Decimal(1), found)


def square_root(value: Decimal) -> Decimal | None:
    """The root of a number that is not negative."""
    if value < 0:
        return None
    return value.sqrt(Context(prec=100)).quantize(_UNIT, ROUND_HALF_UP, _CONTEXT)


def negative(value: Decimal) -> Decimal:
    return _CONTEXT.minus(value)


def absolute(value: Decimal) -> Decimal:
    return _CONTEXT.abs(value)


def sign(value: Decimal) -> Decimal:
    return Decimal((value > 0) - (value < 0))


def floor(value: Decimal) -> Decimal:
    return value.to_integral_value(ROUND_FLOOR, _CONTEXT)


def ceiling(value: Decimal) -> Decimal:
    return value.to_integral_value(ROUND_CEILING, _CONTEXT)


def truncate(value: Decimal) -> Decimal:
    return value.to_integral_value(ROUND_DOWN, _CONTEXT)


def round_half_up(value: Decimal) -> Decimal:
    """JavaScript's rounding: halves go up, -2.5 to -2."""
    return floor(add(value, _HALF))


def round_to(value: Decimal, places: Decimal) -> Decimal:
    """Rounded to so many places, halves away from zero; negative places are before the point."""
    unit = Decimal(1).scaleb(-int(places))
    rounded = add(value.quantize(unit, ROUND_HALF_UP, _CONTEXT), Decimal(0))  # there is no -0
    return rounded if places >= 0 else rounded.quantize(Decimal(1), context=_CONTEXT)


def fixed(value: Decimal, places: Decimal) -> str:
    """As text with so many places."""
    return format(round_to(value, places), "f")


def greatest(*values: Decimal | None) -> Decimal | None:
    """The greatest of those that there are."""
    return max((value for value in values if value is not None), default=None)


def least(*values: Decimal | None) -> Decimal | None:
    """The least of those that there are."""
    return min((value for value in values if value is not None), default=None)


def whole_within(value: Decimal | None, low: int, high: int) -> int:
    """Cut to a whole number within bounds; a blank is 0."""
    return 0 if value is None else int(min(max(truncate(value), Decimal(low)), Decimal(high)))
