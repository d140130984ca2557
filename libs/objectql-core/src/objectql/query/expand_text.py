"""`$expand` as text: `customer($select=name;$expand=owner),lines($top=5;$orderby=no desc)`."""

from __future__ import annotations

from typing import Any

from objectql.errors import InvalidQuery
from objectql.query.words import QUERY_KEYS, near_misses

MAX_DEPTH = 8
"""How deep parentheses may nest; how deep relations may, `parse` checks."""

_OPTIONS = ("$select", "$expand", "$filter", "$orderby", "$top", "$skip", "$count")
_KNOWN = frozenset({"fields", "expand", "where", "order_by", "limit", "offset", "count"})


def parse_expand_text(text: str, at: str = "$expand", depth: int = 0) -> dict[str, Any]:
    """The relations of `text` with their options, as `parse.parse_expand` takes them.

    Raises:
        InvalidQuery: parentheses that do not pair, an unknown option, a relation named twice.

    """
    if depth > MAX_DEPTH:
        raise InvalidQuery(reason=f"parentheses nest deeper than {MAX_DEPTH}", path=at)
    relations: dict[str, Any] = {}
    for part in split_outside(text, ",", at):
        name, options = _split_options(part.strip(), at)
        if not name:
            raise InvalidQuery(reason="a relation has no name", path=at)
        if name in relations:
            raise InvalidQuery(reason=f'"{name}" is named twice', path=at)
        relations[name] = (
            True if options is None else _parse_options(options, f"{at}.{name}", depth)
        )
    return relations


def split_outside(text: str, separator: str, at: str) -> list[str]:
    """`text` cut at each `separator` that stands outside parentheses and '...' strings.

    Raises:
        InvalidQuery: parentheses or quotes do not pair.

    """
    parts: list[str] = []
    start = nesting = 0
    is_quoted = False
    for index, char in enumerate(text):
        if char == "'":  # a doubled quote closes and opens again
            is_quoted = not is_quoted
        elif is_quoted:
            continue
        elif char == "(":
            nesting += 1
        elif char == ")":
            nesting -= 1
            if nesting < 0:
                break
        elif char == separator and nesting == 0:
            parts.append(text[start:index])
            start = index + 1
    if nesting or is_quoted:
        what = "quotes" if is_quoted else "parentheses"
        raise InvalidQuery(reason=f"{what} do not pair", path=at)
    return [*parts, text[start:]]


def _split_options(part: str, at: str) -> tuple[str, str | None]:
    name, opening, rest = part.partition("(")
    if not opening:
        return name, None
    if not rest.endswith(")"):
        raise InvalidQuery(reason=f'"{rest[-20:]}" is not expected after a relation', path=at)
    return name.strip(), rest[:-1]


def _parse_options(text: str, at: str, depth: int) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for part in split_outside(text, ";", at):
        if not part.strip():
            continue
        name, equals, value = part.strip().partition("=")
        key = QUERY_KEYS.get(name)
        if key not in _KNOWN or not equals:
            raise InvalidQuery(
                reason=f'"{name}" is not an option of a relation',
                path=at,
                suggestions=near_misses(name, _OPTIONS),
            )
        if key in options:
            raise InvalidQuery(reason=f'"{name}" is given twice', path=at)
        options[key] = parse_expand_text(value, at, depth + 1) if key == "expand" else value
    return options
