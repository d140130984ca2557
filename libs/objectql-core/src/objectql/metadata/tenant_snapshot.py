"""The metadata of a tenant that has some of its own: the published snapshot with that laid over it.

It holds what is the tenant's own and shares the rest, so that it costs what the tenant's own costs,
however much is published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from objectql.errors import Issue
from objectql.ids import ObjectName, TenantId
from objectql.metadata.document import Document
from objectql.metadata.layered import Layered
from objectql.metadata.model import ObjectDef, ObjectPermissions
from objectql.metadata.registry import MetadataSnapshot

K = TypeVar("K")
V = TypeVar("V")


class TenantSnapshot(MetadataSnapshot):
    """See the head of this module.

    `own` holds the tenant's objects, and those of `base` that it has given fields, whole. `digest` is
    that of what they were made from: a tenant's id may be another's one day, whose first publication
    must not find what is kept of the former's.
    """

    def __init__(
        self,
        base: MetadataSnapshot,
        tenant: TenantId,
        digest: str,
        own: Mapping[ObjectName, ObjectDef],
        *,
        permissions: Mapping[ObjectName, ObjectPermissions],
        documents: tuple[Document, ...],
        warnings: tuple[Issue, ...] = (),
    ) -> None:
        super().__init__(base.version, own, permissions=permissions, warnings=warnings)
        self.base = base
        self.own = own
        self.own_documents = documents
        self.asleep: tuple[Issue, ...] = ()
        """Why documents are left out that do not fit what was published since."""
        self.edition = f"{base.version}/{tenant}/{digest}"
        self.objects = Layered(own, base.objects)
        self.permissions = Layered(self.permissions, base.permissions)
        self.items = base.items
        self.seeds = base.seeds
        self.numbers = base.numbers
        types = {
            kind: Layered(found, base._types.get(kind, {})) for kind, found in self._types.items()
        }
        self._types = Layered(types, base._types)
        self._tags = _merged(self._tags, base._tags, lambda object_: object_.name in own)
        self._inverse = _merged(self._inverse, base._inverse, lambda link: link[0].name in own)
        self._dependents = _merged(
            self._dependents,
            base._dependents,
            lambda dependent: dependent.name.partition(".")[0] in own,
        )
        self._packages = Layered(self._packages, base._packages)

    @property
    def documents(self) -> tuple[Document, ...]:
        """Those of the base, and the tenant's."""
        return (*self.base.documents, *self.own_documents)


def _merged(
    own: Mapping[K, tuple[V, ...]],
    base: Mapping[K, tuple[V, ...]],
    is_replaced: Callable[[V], bool],
) -> Mapping[K, tuple[V, ...]]:
    """Groups of which `own` holds all that comes from the tenant's objects."""
    found = {
        key: (*(member for member in base.get(key, ()) if not is_replaced(member)), *members)
        for key, members in own.items()
    }
    return Layered(found, base)
