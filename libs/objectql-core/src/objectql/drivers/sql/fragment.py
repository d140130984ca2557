"""Pieces of SQL: text with holes for expressions, and expressions whose kind is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import sqlalchemy as sa  # noqa: TID251 - this package is the home of SQL
from sqlalchemy.ext.compiler import compiles  # noqa: TID251
from sqlalchemy.sql.compiler import SQLCompiler  # noqa: TID251

from objectql.drivers.sql.encode import Kind

Expression = sa.ColumnElement[Any]


class Fragment(sa.ColumnElement[Any]):
    """`template` with each `{}` replaced by the SQL of an expression, in order."""

    inherit_cache = False

    def __init__(self, template: str, *holes: sa.ClauseElement) -> None:
        self.parts: tuple[str | sa.ClauseElement, ...] = ()
        texts = template.split("{}")
        if len(texts) != len(holes) + 1:
            raise ValueError(f"{len(holes)} expressions for the holes of {template!r}")
        for text, hole in zip(texts, (*holes, None), strict=True):
            self.parts += (text,) if hole is None else (text, hole)

    @staticmethod
    def of(parts: Iterable[str | sa.ClauseElement]) -> Fragment:
        """SQL text and expressions one after the other; braces in the text mean themselves."""
        fragment = Fragment("")
        fragment.parts = tuple(parts)
        return fragment


@compiles(Fragment)
def _write_fragment(element: Fragment, compiler: SQLCompiler, **kw: Any) -> str:
    kw.pop("within_columns_clause", None)
    return "".join(
        part if isinstance(part, str) else compiler.process(part, **kw) for part in element.parts
    )


def string_literal(text: str) -> str:
    """`text` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def escaped_literal(text: str) -> str:
    """`text` as an SQL string of Postgres that can be read: odd characters as escapes."""
    odd = {c: _escape(c) for c in text if not c.isprintable()}
    return "E" + string_literal(text.replace("\\", "\\\\").translate(str.maketrans(odd)))


def _escape(char: str) -> str:
    return f"\\x{ord(char):02x}" if char.isascii() else f"\\u{ord(char):04x}"


def identifier(name: str) -> str:
    """`name` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


class Typed(NamedTuple):
    """An expression and how its value is kept."""

    sql: Expression
    kind: Kind
