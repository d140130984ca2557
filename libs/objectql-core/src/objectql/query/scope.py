"""What a query may name: objects, fields and relations as this caller sees them.

A field that may not be read answers like one that does not exist, everywhere, and is never
suggested: otherwise filters could tell its values by bisection. For the same reason a field under a
mask can be shown, but nothing can be asked about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn, Protocol

from objectql.errors import (
    Category,
    FieldUnknown,
    InvalidQuery,
    Issue,
    ObjectQLError,
    PermissionDenied,
)
from objectql.formula.fields import program_of
from objectql.formula.syntax import FormulaError
from objectql.ids import FieldName
from objectql.metadata.masks import Mask
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.types import Storage
from objectql.query.ast import Path
from objectql.query.bound import (
    TRUE,
    AllOf,
    Column,
    Hop,
    Param,
    ParamSource,
    Predicate,
    Test,
    TestOp,
)
from objectql.query.policy import AccessPolicy
from objectql.query.values_in import settled
from objectql.query.words import near_misses

MAX_HOPS = 3

_SEARCHED_TYPES = frozenset(
    "text textarea markdown html richtext email url phone code select autonumber".split()
)


class Schema(Protocol):
    """The part of a metadata snapshot that queries look at."""

    def object(self, name: str, /) -> ObjectDef:
        """The object of that name.

        Raises:
            ObjectUnknown: there is none.

        """
        ...

    def inverse_lookups(self, object: str, /) -> Sequence[tuple[ObjectDef, FieldDef]]:
        """The lookups of all objects that point to `object`."""
        ...


class Params:
    """The parameters that a query comes to need, in order; the tenant is the first."""

    def __init__(self) -> None:
        self._sources: list[ParamSource] = []
        self._contexts: dict[tuple[str, Storage, bool], Param] = {}
        self._given: dict[int, Param] = {}
        self.tenant = self.context("tenant", Storage.TEXT)

    def add(self, source: ParamSource) -> Param:
        """A parameter of its own, even where a literal is equal today."""
        self._sources.append(settled(source))
        return Param(len(self._sources) - 1)

    def context(self, name: str, storage: Storage, *, is_list: bool = False) -> Param:
        """The parameter for a fact of the request, one for all its uses."""
        key = (name, storage, is_list)
        found = self._contexts.get(key)
        if found is None:
            shape = "list" if is_list else "scalar"
            found = self.add(ParamSource(storage, context=name, shape=shape))
            self._contexts[key] = found
        return found

    def given(self, param: Param) -> Param:
        """The parameter that tells whether `param`, a fact of the request, is there."""
        found = self._given.get(param.index)
        if found is None:
            found = self.add(ParamSource(Storage.BOOLEAN, of=(param.index,), derive="is_given"))
            self._given[param.index] = found
        return found

    def sources(self) -> tuple[ParamSource, ...]:
        """All of them so far."""
        return tuple(self._sources)


class Problems:
    """Mistakes of the caller, gathered so that one answer names them all."""

    def __init__(self, places: Sequence[str]) -> None:
        self._places = places
        self._found: list[tuple[str, ObjectQLError]] = []

    def place(self, slot: int) -> str:
        """Where the literal of `slot` stood in the request."""
        return self._places[slot] if slot < len(self._places) else ""

    def note(self, error: ObjectQLError, at: str) -> None:
        """Remember a mistake; anything that is not the caller's mistake is raised at once."""
        if error.category is not Category.INVALID_REQUEST:
            raise error
        self._found.append((getattr(error, "path", "") or at, error))

    def finish(self) -> None:
        """Raise the first mistake with all of them as its issues, if there is one."""
        if not self._found:
            return
        first = self._found[0][1]
        first.issues = tuple(
            Issue(path=at, code=error.code, message=error.message) for at, error in self._found
        )
        raise first


class Visibility:
    """What this caller may see of each object, worked out once per query."""

    def __init__(self, schema: Schema, policy: AccessPolicy) -> None:
        self.schema = schema
        self.policy = policy
        self._fields: dict[str, Mapping[str, FieldDef]] = {}
        self._shown: dict[str, Mapping[str, FieldDef]] = {}

    def fields(self, object_: ObjectDef) -> Mapping[str, FieldDef]:
        """The fields that the caller may ask about; formula fields are among them."""
        known = self._fields.get(object_.name)
        if known is None:
            known, masks = self.shown(object_), self.policy.masks(object_)
            if masks:
                known = {name: field for name, field in known.items() if field.name not in masks}
            self._fields[object_.name] = known
        return known

    def shown(self, object_: ObjectDef) -> Mapping[str, FieldDef]:
        """The fields that the caller may see, those under a mask included."""
        known = self._shown.get(object_.name)
        if known is None:
            allowed = self.policy.readable(object_)
            known = {
                str(name): field
                for name, field in object_.fields.items()
                if not field.info.write_only
                and (allowed is None or name in allowed or name == "id")
                and (field.formula is None or self._tells_nothing_else(object_, field))
            }
            self._shown[object_.name] = known
        return known

    def _tells_nothing_else(self, object_: ObjectDef, field: FieldDef) -> bool:
        """Whether the caller may read, without a mask, all that a formula is computed of.

        Otherwise the formula would tell it.
        """
        try:
            sources = program_of(object_, field, self.schema.object).sources
            paths = [source.path for source in sources if source.root == "record"]
            return all(self._is_open(object_, path) for path in paths)
        except (FormulaError, PermissionDenied):
            return False

    def _is_open(self, object_: ObjectDef, path: Path) -> bool:
        for at, name in enumerate(path):
            allowed = self.policy.readable(object_)
            if name in self.policy.masks(object_):
                return False
            if allowed is not None and name not in allowed and name != "id":
                return False
            if at + 1 < len(path):
                object_ = follow(self.schema, object_.fields[FieldName(name)])
                self.policy.check_read(object_)
        return True

    def searched(self, object_: ObjectDef) -> list[FieldDef]:
        """The fields in which a search looks that names none; empty: it cannot be searched."""
        texts = [
            field
            for field in self.fields(object_).values()
            if field.storage is Storage.TEXT and field.is_stored and not field.system
        ]
        return [field for field in texts if field.searchable] or [
            field
            for field in texts
            if field.type in _SEARCHED_TYPES or field.name == object_.name_field
        ]

    def mask(self, object_: ObjectDef, field: FieldDef) -> Mask | None:
        """The mask under which the caller sees the field, if any."""
        return self.policy.masks(object_).get(field.name)

    def field(self, object_: ObjectDef, name: str, *, is_shown: bool = False) -> FieldDef:
        """The field `name`, to be asked about or only to be shown.

        Raises:
            FieldUnknown: there is none for this caller.

        """
        fields = self.shown(object_) if is_shown else self.fields(object_)
        found = fields.get(name)
        if found is None:
            self.raise_unknown(object_, name, fields)
        return found

    def raise_unknown(
        self, object_: ObjectDef, name: str, names: Mapping[str, FieldDef] | Sequence[str]
    ) -> NoReturn:
        """Raise `FieldUnknown` with near misses among `names`."""
        raise FieldUnknown(
            object=object_.name, field=name, suggestions=near_misses(name, list(names))
        )


def stored_field(object_: ObjectDef, name: str) -> FieldDef:
    """The stored field `name`, whoever asks.

    Raises:
        FieldUnknown: there is none.

    """
    found = object_.fields.get(FieldName(name))
    if found is None or not found.is_stored:
        raise FieldUnknown(
            object=object_.name, field=name, suggestions=near_misses(name, object_.fields)
        )
    return found


def check_hops(path: Path) -> None:
    """Return when `path` follows few enough lookups.

    Raises:
        InvalidQuery: it does not.

    """
    if len(path) - 1 > MAX_HOPS:
        raise InvalidQuery(reason=f'"{".".join(path)}" follows more than {MAX_HOPS} lookups')


def follow(schema: Schema, field: FieldDef) -> ObjectDef:
    """The object that a path goes on in after `field`.

    Raises:
        InvalidQuery: `field` does not point to one record.

    """
    if field.reference is None:
        raise InvalidQuery(reason=f'"{field.name}" is not a lookup')
    if field.storage is not Storage.TEXT:
        raise InvalidQuery(reason=f'"{field.name}" points to several records')
    return schema.object(field.reference)


def is_alive(object_: ObjectDef) -> Predicate:
    """That a record is not deleted; true for objects without soft delete."""
    deleted_at = object_.fields.get(FieldName("deleted_at"))
    if deleted_at is None or not deleted_at.system:
        return TRUE
    return Test(Column(deleted_at), TestOp.IS_NULL)


def all_of(*items: Predicate) -> Predicate:
    """The conjunction, without the true ones."""
    kept = tuple(item for item in items if item != TRUE)
    return kept[0] if len(kept) == 1 else AllOf(kept) if kept else TRUE


def trusted_column(schema: Schema, object_: ObjectDef, path: Path) -> Column:
    """A stored field by its path, whoever asks: row rules look at facts.

    Raises:
        FieldUnknown, InvalidQuery: the rule is wrong.

    """
    check_hops(path)
    hops: list[Hop] = []
    for name in path[:-1]:
        field = stored_field(object_, name)
        object_ = follow(schema, field)
        hops.append(Hop(field, object_))
    return Column(stored_field(object_, path[-1]), tuple(hops))
