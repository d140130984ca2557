"""A record's image as SQL: the same JSON as a read of all its fields gives."""

from __future__ import annotations

from objectql.drivers.sql.dialect import Dialect
from objectql.drivers.sql.encode import kind_of
from objectql.drivers.sql.fragment import Typed
from objectql.drivers.sql.scope import column_of
from objectql.metadata.model import ObjectDef


def image_text(object_: ObjectDef, alias: str, dialect: Dialect) -> str:
    """The SQL of the image (JSON as text) of the row that `alias` stands for."""
    row = dialect.json_row(
        [
            (field.name, dialect.json_value(Typed(column, kind_of(field))))
            for field in object_.readable_fields
            for column in (column_of(alias, field.column_name),)
        ]
    )
    return str(row.compile(dialect=dialect.vendor))
