"""Tenants with tables of their own: where those are, and the port that makes and drops them.

A place is a schema or a database beside a data source's own tables. Its driver speaks the whole
driver port over that place alone, so that one tenant's statements cannot name another's tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

import msgspec

from objectql.ids import TenantId

if TYPE_CHECKING:
    from objectql.drivers.protocol import Driver

PlaceKind: TypeAlias = Literal["schema", "database"]

_DIGEST_CHARS: Final = 16


class Place(msgspec.Struct, frozen=True):
    """Where one tenant has its tables in every data source."""

    tenant: TenantId
    kind: PlaceKind


class TenantPlaces(Protocol):
    """The places of one data source."""

    @property
    def kinds(self) -> frozenset[PlaceKind]:
        """What can be made here."""
        ...

    async def create(self, place: Place) -> None:
        """Make it with its system tables, or what is missing of it.

        Raises:
            PlaceTaken: what stands there was not made by this, for this tenant.
            Unavailable, DatabaseFailed

        """
        ...

    def open(self, place: Place) -> Driver:
        """A driver of the place alone, which connects when it is first asked for something.

        Nothing is looked at now, and `Driver.connect` need not be called.
        """
        ...

    async def waiting(
        self, places: Sequence[Place], drivers: Mapping[TenantId, Driver]
    ) -> frozenset[TenantId]:
        """Those of the tenants whose outbox may hold events to publish, asked of all at once.

        `drivers` are those that `open` gave, for places that can be asked by themselves only. One
        that does not answer is left out now and then, and keeps the others waiting for seconds at
        most.
        """
        ...

    async def drop(self, place: Place) -> None:
        """Delete it with everything in it, if it is there. Never what `create` would refuse."""
        ...


def place_name(prefix: str, tenant: TenantId, max_bytes: int) -> str:
    """A name for the place of `tenant` that no other tenant's can be, whatever its length.

    What is too long in UTF-8 is cut and ends in a digest behind `~`, which no id has.
    """
    name = f"{prefix}{tenant}"
    if len(name.encode()) <= max_bytes:
        return name
    digest = sha256(tenant.encode()).hexdigest()[:_DIGEST_CHARS]
    kept = name.encode()[: max_bytes - _DIGEST_CHARS - 1].decode(errors="ignore")
    return f"{kept}~{digest}"
