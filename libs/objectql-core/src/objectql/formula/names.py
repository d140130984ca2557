"""The names that a formula over records of an object may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final

from objectql.errors import ObjectQLError, suggestion_text
from objectql.formula.check import Wanted
from objectql.formula.functions import Type
from objectql.formula.program import Root
from objectql.ids import FieldName
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.types import Storage

MAX_HOPS: Final = 3
FindObject = Callable[[str], ObjectDef]

_TYPES: Final[Mapping[Storage, Type]] = {
    Storage.TEXT: Type.TEXT,
    Storage.INTEGER: Type.NUMBER,
    Storage.FLOAT: Type.NUMBER,
    Storage.DECIMAL: Type.NUMBER,
    Storage.BOOLEAN: Type.BOOLEAN,
    Storage.DATE: Type.DATE,
    Storage.DATETIME: Type.DATETIME,
    Storage.TIME: Type.TIME,
    Storage.LIST: Type.LIST,
}


class RecordNames:
    """Fields of `object_`, of the records its lookups lead to where `find` knows their objects.

    Without `find` it is one record that is being written: what has to be read has no value there,
    that is formula fields and fields of other records.
    Facts of the caller are texts (`roles` is a list): a claim may hold anything, and what is
    compared with a number is read as one.
    """

    def __init__(self, object_: ObjectDef, find: FindObject | None = None) -> None:
        self._object = object_
        self._find = find

    def type_of(self, root: Root, path: tuple[str, ...]) -> Type | None:
        """See `check.Names`."""
        if root == "user":
            return Type.LIST if path == ("roles",) else Type.TEXT
        object_ = self._object
        for name in path[:-1]:
            field = object_.fields.get(FieldName(name))
            if field is None or field.reference is None:
                return None
            object_ = self._followed(field, path)
        field = object_.fields.get(FieldName(path[-1]))
        if field is None:
            near = tuple(get_close_matches(path[-1], list(object_.fields), n=2))
            if near and len(path) > 1:
                raise ValueError(f'{object_.name} has no "{path[-1]}"' + suggestion_text(near))
            return None
        if self._find is None and field.formula is not None:
            raise ValueError(f'"{field.name}" is computed when it is read, and has no value here')
        return type_of_field(field)

    def _followed(self, field: FieldDef, path: tuple[str, ...]) -> ObjectDef:
        if self._find is None:
            raise ValueError(f'"{".".join(path)}": only fields of the record itself are here')
        if len(path) - 1 > MAX_HOPS:
            raise ValueError(f'"{".".join(path)}" follows more than {MAX_HOPS} lookups')
        if field.storage is not Storage.TEXT:
            raise ValueError(f'"{field.name}" points to several records')
        try:
            return self._find(str(field.reference))
        except ObjectQLError as exc:
            raise ValueError(exc.message) from exc


def type_of_field(field: FieldDef) -> Type:
    """What a field is to a formula.

    Raises:
        ValueError: no formula can use it.

    """
    if field.formula is not None:
        return Wanted(field.formula.data_type).type
    if field.info.write_only:
        raise ValueError(f'"{field.name}" can never be read')
    if field.storage not in _TYPES:
        raise ValueError(f'"{field.name}" holds structured values')
    return _TYPES[field.storage]


def wanted_of(field: FieldDef) -> Wanted:
    """The form in which a formula field's value is wanted.

    Raises:
        ValueError: it is no formula field.

    """
    formula = field.formula
    if formula is None:
        raise ValueError(f'"{field.name}" is no formula field')
    blank = (
        0 if formula.blank_as_zero and formula.treat_blank_as is None else formula.treat_blank_as
    )
    return Wanted(formula.data_type, field.scale, blank)
