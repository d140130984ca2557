"""The records that point to one that is to be deleted, and what their fields say about it."""

from __future__ import annotations

from typing import Any, Literal, cast

import msgspec

from objectql.drivers.protocol import Driver
from objectql.errors import DeleteRestricted, NotSupported
from objectql.kernel.engine import Engine
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.types import Storage
from objectql.query.ast import Compare, Op, Query


class Link(msgspec.Struct, frozen=True):
    """A lookup field of some object to the one at hand."""

    object: ObjectDef
    field: FieldDef

    @property
    def is_list(self) -> bool:
        """Whether the field holds several ids."""
        return self.field.storage is Storage.LIST

    @property
    def behavior(self) -> Literal["cascade", "restrict", "set_null"]:
        """What happens to the pointing record. A required field cannot be emptied."""
        if self.field.type == "master_detail" or self.field.delete_behavior == "cascade":
            return "cascade"
        if self.field.delete_behavior == "restrict" or (self.field.required and not self.is_list):
            return "restrict"
        return "set_null"

    def refuse_restricted(self, object_: ObjectDef, id_: str) -> None:
        """Return unless the field forbids the deletion of what it points to.

        Raises:
            DeleteRestricted: it does.

        """
        if self.behavior == "restrict":
            place = f"{self.object.name}.{self.field.name}"
            raise DeleteRestricted(object=object_.name, id=id_, referenced_by=place)


class Referrers:
    """Finds pointing records inside one transaction, whoever asks."""

    def __init__(self, engine: Engine, reader: Reader, scope: Scope, driver: Driver) -> None:
        self._engine = engine
        self._reader = reader
        self._scope = scope
        self._driver = driver

    def links(self, object_: ObjectDef) -> tuple[Link, ...]:
        """The stored lookups of all objects that point to `object_`; restricting ones first."""
        links = [
            Link(child, field)
            for child, field in self._scope.model.snapshot.inverse_lookups(object_.name)
            if field.is_stored
        ]
        return tuple(sorted(links, key=lambda link: link.behavior != "restrict"))

    async def ids(self, link: Link, id_: str, maximum: int) -> list[str]:
        """The records that point to `id_` through `link`, at most `maximum` and one more.

        Raises:
            NotSupported: there are some, in another data source.

        """
        op = Op.CONTAINS if link.is_list else Op.EQ
        query = Query(
            object=link.object.name,
            fields=(("id",),),
            where=Compare((link.field.name,), op, id_),
            limit=maximum + 1,
            include_deleted=True,
        )
        rows = await self._reader.rows(query, self._scope)
        if rows and self._engine.driver(link.object) is not self._driver:
            place = f"{link.object.name}.{link.field.name}"
            raise NotSupported(feature=f"deleting what {place} of another data source points to")
        return [str(row["id"]) for row in rows]

    async def emptied(self, link: Link, child: str, id_: str) -> dict[str, Any]:
        """The change that takes `id_` out of the pointing field of `child`."""
        if not link.is_list:
            return {link.field.name: None}
        query = Query(
            object=link.object.name,
            fields=((link.field.name,),),
            where=Compare(("id",), Op.EQ, child),
            limit=1,
        )
        (row,) = await self._reader.rows(query, self._scope)
        kept = [other for other in cast("list[str]", row[link.field.name]) if other != id_]
        return {link.field.name: kept}
