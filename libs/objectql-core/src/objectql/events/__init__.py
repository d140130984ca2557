"""Facts after the effect, and the bus that carries them inside one process.

`model` holds the event structs, `bus` the patterns, handlers and replay.
"""

from objectql.events.bus import EventBus, EventHandler, Recorded
from objectql.events.model import (
    ChangeEvent,
    ChangeKind,
    DriverConnected,
    DriverDisconnected,
    Event,
    KernelStarted,
    KernelStopped,
    MetadataPublished,
    MetadataRegistered,
    MetadataUnregistered,
    PluginInstalled,
    PluginStarted,
    PluginStopped,
)

__all__ = [
    "ChangeEvent",
    "ChangeKind",
    "DriverConnected",
    "DriverDisconnected",
    "Event",
    "EventBus",
    "EventHandler",
    "KernelStarted",
    "KernelStopped",
    "MetadataPublished",
    "MetadataRegistered",
    "MetadataUnregistered",
    "PluginInstalled",
    "PluginStarted",
    "PluginStopped",
    "Recorded",
]
