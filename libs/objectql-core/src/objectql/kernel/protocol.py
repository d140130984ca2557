"""The one face of the kernel that protocol plugins use: metadata, data, actions.

They never see a driver, a transaction or a plan. Calls act as the system unless a context is
given; plural names of metadata types are accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from objectql.context import Context
from objectql.kernel.kernel import Kernel
from objectql.metadata.model import ObjectPermissions


class RuntimeProtocol:
    """The bridge between protocols and the kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def get_meta_types(self) -> list[str]:
        """The types of metadata that have at least one item."""
        return list(self._kernel.engine.registry.snapshot.types())

    def get_meta_item(self, type: str, name: str) -> dict[str, Any] | None:
        """The document of an item, or None."""
        if self._kernel.engine.registry.get(type, name) is None:
            return None
        return self._kernel.document(type, name)

    def list_meta_items(self, type: str) -> list[dict[str, Any]]:
        """The documents of all items of a type."""
        return [
            self._kernel.document(
                type, item.object if isinstance(item, ObjectPermissions) else item.name
            )
            for item in self._kernel.engine.registry.list(type)
        ]

    async def find_data(
        self,
        object: str,
        query: Mapping[str, Any] | None = None,
        *,
        context: Context | None = None,
    ) -> list[dict[str, Any]]:
        """The records that match."""
        return (await self._kernel.find(object, query, context=context)).value

    async def get_data(
        self, object: str, id: str, *, context: Context | None = None
    ) -> dict[str, Any] | None:
        """The record, or None."""
        return await self._kernel.get(object, id, context=context)

    async def create_data(
        self, object: str, data: Mapping[str, Any], *, context: Context | None = None
    ) -> dict[str, Any]:
        """The new record."""
        return await self._kernel.create(object, data, context=context)

    async def update_data(
        self, object: str, id: str, data: Mapping[str, Any], *, context: Context | None = None
    ) -> dict[str, Any]:
        """The changed record."""
        return await self._kernel.update(object, id, data, context=context)

    async def delete_data(self, object: str, id: str, *, context: Context | None = None) -> bool:
        """Whether there was such a record."""
        return await self._kernel.delete(object, id, context=context)

    async def execute_action(
        self,
        reference: str,
        params: Mapping[str, Any] | None = None,
        *,
        context: Context | None = None,
    ) -> Any:
        """What an action returns. The record's id may be given as `params["id"]` or `["_id"]`."""
        given = dict(params or {})
        id_ = cast("str | None", given.pop("id", given.pop("_id", None)))
        return await self._kernel.action(reference, given, id=id_, context=context)
