"""What a database's refusal means to a caller.

Both databases are reduced to one `Refusal`; `translate` turns it into the error of the port. The
names of constraints carry their columns, but long names are cut, so they are looked up in a
`ConstraintNames` that is filled from the objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from objectql.drivers.sql.ddl import constraint_name, indexes_of
from objectql.drivers.sql.scope import table_name
from objectql.errors import (
    DatabaseFailed,
    DeadlineExceeded,
    DeleteRestricted,
    InvalidRequest,
    Issue,
    NotSupported,
    ObjectQLError,
    Unavailable,
    UniqueViolation,
    ValidationFailed,
    WriteConflict,
)
from objectql.ids import FieldName
from objectql.metadata.model import ObjectDef
from objectql.metadata.types import Storage

RETRYABLE_STATES = frozenset({"40001", "40P01", "55P03"})
"""Serialization failure, deadlock, and a lock that was waited for too long (only where that is
limited): the transaction may be run again as it was."""

CANCELLED_STATE = "57014"
UNIQUE_STATE = "23505"
REFERENCE_STATE = "23503"
TOO_COMPLEX_STATE = "54001"
_UNAVAILABLE_CLASSES = ("08", "53", "57P", "58")
_READ_ONLY_STATE = "25006"
"""The primary became a standby: writes go elsewhere, soon."""

_DATA_ISSUES = {
    "22001": ("too_long", "the text is too long"),
    "22003": ("out_of_range", "the number is out of range"),
    "22007": ("invalid_format", "the date or time is malformed"),
    "22008": ("out_of_range", "the date or time is out of range"),
    "22021": ("invalid_text", "the text holds a character that cannot be stored"),
    "22P05": ("invalid_text", "the character U+0000 cannot be stored"),
    "23502": ("required", "a value is required"),
    "23514": ("invalid", "a value is not allowed"),
}

_TEXT_STATES = frozenset({"22021", "22P05"})
"""Some text of the caller, an id for one, is none that a database can even look for."""

_MAX_SEEN = 8192

Doing: TypeAlias = Literal["insert", "update", "delete", "read"]


class Refusal(NamedTuple):
    """A database's error, as far as it is known.

    `state` is the SQLSTATE (SQLite's codes are mapped to the same). `columns` are those of the
    constraint where the database names them itself.
    """

    state: str
    constraint: str = ""
    table: str = ""
    column: str = ""
    columns: tuple[str, ...] = ()


class Constraint(msgspec.Struct, frozen=True):
    """A unique index or foreign key: of which object, over which columns (the tenant left out)."""

    object: str
    columns: tuple[str, ...]


def constraint_columns(object_: ObjectDef) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The constraints of the object's table beside its primary key: each name with its columns."""
    for index in indexes_of(object_):
        if index.unique:
            yield index.name, index.keys
    for field in references_in(object_):
        column = object_.fields[FieldName(field)].column_name
        yield constraint_name("fk", table_name(object_), (column,)), (column,)


def references_in(object_: ObjectDef) -> Mapping[str, str]:
    """The lookups that a foreign key may guard: each field with the object that it points to."""
    return {
        field.name: field.reference
        for field in object_.stored_fields
        if field.reference is not None and field.storage is Storage.TEXT
    }


class ConstraintNames:
    """What each constraint and table of a source belongs to; grows as objects become known."""

    def __init__(self) -> None:
        self._constraints: dict[str, Constraint] = {}
        self._objects: dict[str, str] = {}
        self._learned: dict[str, ObjectDef] = {}
        self._seen: dict[int, ObjectDef] = {}
        """By their `id`, which is not used again while they are held here."""

    def learn(self, objects: Iterable[ObjectDef]) -> None:
        """Include the tables and constraints of `objects`."""
        for object_ in objects:
            if id(object_) in self._seen:
                continue
            if len(self._seen) >= _MAX_SEEN:  # of past metadata, and of tenants
                self._seen.clear()
            self._seen[id(object_)] = object_
            self._learned[object_.name] = object_
            self._objects[table_name(object_)] = object_.name
            for name, columns in constraint_columns(object_):
                self._constraints[name] = Constraint(object_.name, columns)

    @property
    def objects(self) -> Iterable[ObjectDef]:
        """What is known."""
        return self._learned.values()

    def table_of(self, object_: str) -> str | None:
        """The table of an object, if it is known."""
        known = self._learned.get(object_)
        return None if known is None else table_name(known)

    def object_of(self, table: str) -> str:
        """The object kept in `table`, or the table's name when none is known."""
        return self._objects.get(table, table)

    def fields_of(self, refusal: Refusal, object_: ObjectDef | None) -> tuple[str, ...]:
        """The fields of the constraint that refused a write of `object_`.

        Tenants keep different fields in one column, so only the object that was written tells.
        """
        columns = refusal.columns
        if not columns:
            known = self._constraints.get(refusal.constraint)
            columns = known.columns if known else ("id",)
        columns = tuple(column for column in columns if column != "tenant_id") or ("id",)
        return columns if object_ is None else tuple(map(object_.field_in, columns))


def translate(
    refusal: Refusal,
    names: ConstraintNames,
    *,
    doing: Doing,
    object_: ObjectDef | None = None,
    id_: str = "",
) -> ObjectQLError:
    """The error of the port that says what `refusal` says.

    `object_` and `id_` name the record that was being written, where there was one.
    """
    state = refusal.state
    name = "" if object_ is None else object_.name
    if state == UNIQUE_STATE:
        return UniqueViolation(
            object=names.object_of(refusal.table) if refusal.table else name,
            fields=names.fields_of(refusal, object_),
        )
    if state == REFERENCE_STATE and doing == "delete":
        return DeleteRestricted(object=name, id=id_, referenced_by=names.object_of(refusal.table))
    if state == REFERENCE_STATE:
        return ValidationFailed(
            object=name,
            issues=tuple(
                Issue(field, "reference_not_found", "there is no such record")
                for field in names.fields_of(refusal, object_)
            ),
        )
    if doing in {"insert", "update"} and (state in _DATA_ISSUES or state.startswith("22")):
        code, message = _DATA_ISSUES.get(state, ("invalid", "a value cannot be stored"))
        field = refusal.column if object_ is None else object_.field_in(refusal.column)
        return ValidationFailed(object=name, issues=(Issue(field, code, message),))
    if state in _TEXT_STATES:
        return InvalidRequest(reason=_DATA_ISSUES[state][1])
    if state in RETRYABLE_STATES:
        return WriteConflict()
    if state == CANCELLED_STATE:
        return DeadlineExceeded()
    if state == _READ_ONLY_STATE or state.startswith(_UNAVAILABLE_CLASSES):
        return Unavailable(what="the database")
    if state.startswith(TOO_COMPLEX_STATE[:2]):
        return NotSupported(feature="a query that nests this deeply, on this database")
    return DatabaseFailed()
