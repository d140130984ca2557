"""Which services there are, and how their messages are read and written, by the newest metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from objectql.context import Actor
from objectql.ids import FieldName, ObjectName
from objectql.metadata.registry import MetadataSnapshot
from objectql.protobuf.generic_service import GENERIC, GenericCodec
from objectql.protobuf.services import ObjectCodec, service_names
from objectql.service.metadata_view import MetadataView
from objectql.service.readers import readable_by

Codec: TypeAlias = ObjectCodec | GenericCodec

_CODECS: Final = 4096
"""How many are kept: one for each object and set of fields that callers may read."""


class Edition:
    """The services of one version of the metadata."""

    def __init__(self, snapshot: MetadataSnapshot) -> None:
        self.snapshot = snapshot
        self.objects: Mapping[str, ObjectName] = service_names(snapshot.numbers)
        """By the names of their services."""
        self._codecs: dict[tuple[ObjectName, frozenset[FieldName] | None], ObjectCodec] = {}

    def codec(self, name: ObjectName, readable: frozenset[FieldName] | None) -> ObjectCodec:
        """The messages of an object, for those who may read `readable` (None: all) of it."""
        key = (name, readable)
        found = self._codecs.get(key)
        if found is None:
            if len(self._codecs) >= _CODECS:
                self._codecs.clear()
            snapshot = self.snapshot
            found = ObjectCodec(snapshot.object(name), snapshot.numbers[name], readable)
            self._codecs[key] = found
        return found

    def codecs(self, actor: Actor) -> list[ObjectCodec]:
        """Those of all objects, for `actor`."""
        readable = readable_by(self.snapshot, actor)
        return [self.codec(name, readable(name)) for name in self.objects.values()]


class Catalog:
    """The newest edition."""

    def __init__(self, metadata: MetadataView) -> None:
        self._metadata = metadata
        self._edition: Edition | None = None

    @property
    def edition(self) -> Edition:
        """See `Edition`.

        Raises:
            Unavailable: no kernel has told the metadata yet.

        """
        snapshot = self._metadata.snapshot
        edition = self._edition
        if edition is None or edition.snapshot is not snapshot:
            edition = self._edition = Edition(snapshot)
        return edition

    @property
    def current(self) -> Edition | None:
        """As `edition`; None before the first."""
        return self.edition if self._metadata.is_ready else None

    def verb(self, path: str) -> str | None:
        """What the method at `/<service>/<method>` does; None where there is none."""
        service, _, name = path[1:].rpartition("/")
        codec: Codec = GENERIC
        if service != GENERIC.service:
            edition = self.current
            found = None if edition is None else edition.objects.get(service)
            if edition is None or found is None:
                return None
            codec = edition.codec(found, None)
        rpc = codec.rpcs.get(name)
        return None if rpc is None else rpc.verb

    def has(self, service: str) -> bool:
        """Whether there is a service of this name."""
        if service == GENERIC.service:
            return True
        return self._metadata.is_ready and service in self.edition.objects

    def codec(self, service: str, actor: Actor) -> Codec | None:
        """How `actor` and a service talk; None where there is none of this name."""
        if service == GENERIC.service:
            return GENERIC
        edition = self.edition
        name = edition.objects.get(service)
        if name is None:
            return None
        return edition.codec(name, readable_by(edition.snapshot, actor)(name))
