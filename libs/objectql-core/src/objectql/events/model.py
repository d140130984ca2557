"""Facts after the effect, as frozen structs. An event cannot veto anything.

`ChangeEvent` is the one that leaves the system: it is written to the outbox in the transaction of
its change and published from there. The others are the lifecycle of a process and its metadata.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from objectql.ids import ObjectName, TenantId

ChangeKind: TypeAlias = Literal["created", "updated", "deleted"]


class ChangeEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record was created, updated or deleted.

    `before` and `after` are the record's whole stored images as JSON text (`Raw`), for matching and
    permission checks inside the system; gateways send callers only what they may see. `batch` is
    shared by all events of one commit; `batch_size` tells how many there are, once the event is
    published: before the commit nobody knows. `id` is unique and
    stays the same however often the event is delivered. `origin` (see `Context`) is told by the history
    only, never published.
    """

    id: str
    tenant: TenantId
    object: ObjectName
    record_id: str
    kind: ChangeKind
    version: int
    at: str
    actor: str
    before: bytes | None = None
    after: bytes | None = None
    request_id: str = ""
    traceparent: str = ""
    batch: str = ""
    batch_size: int = 1
    origin: str = ""


class Event(msgspec.Struct, frozen=True, tag_field="event"):
    """Base of the in-process events; the tag is the event's name."""

    @property
    def name(self) -> str:
        """The topic, as `kernel:started`."""
        return str(self.__struct_config__.tag)


class KernelStarted(Event, frozen=True, tag="kernel:started"):
    timestamp_ms: int
    node: str


class KernelStopped(Event, frozen=True, tag="kernel:stopped"):
    timestamp_ms: int
    node: str


class MetadataRegistered(Event, frozen=True, tag="metadata:registered"):
    type: str
    item: str
    package: str | None
    version: int


class MetadataUnregistered(Event, frozen=True, tag="metadata:unregistered"):
    type: str
    item: str
    package: str | None
    version: int


class MetadataPublished(Event, frozen=True, tag="metadata:published"):
    """A new snapshot is in force."""

    version: int


class PluginInstalled(Event, frozen=True, tag="plugin:installed"):
    plugin: str
    version: str


class PluginStarted(Event, frozen=True, tag="plugin:started"):
    plugin: str
    version: str


class PluginStopped(Event, frozen=True, tag="plugin:stopped"):
    plugin: str
    version: str


class DriverConnected(Event, frozen=True, tag="driver:connected"):
    driver: str


class DriverDisconnected(Event, frozen=True, tag="driver:disconnected"):
    driver: str
