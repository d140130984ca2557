"""What kernels tell coordinators of their data sources, and these tell them of operators' commands.

Of their data sources kernels tell in the details of their heartbeats, under `sources`.
"""

from __future__ import annotations

from typing import Any

import msgspec


class ReplicaHealth(msgspec.Struct, frozen=True):
    """Whether a kernel reads from a replica, and how many seconds it is behind."""

    is_in_use: bool
    lag_s: float


class SourceHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """A data source as one kernel has seen it in the last seconds."""

    is_up: bool = False
    is_relaying: bool = False
    replicas: dict[str, ReplicaHealth] = {}


class Commanded(msgspec.Struct, frozen=True):
    """Verb `commanded` of kernels: the caller, an operator, gives the cluster a command."""

    command: str
    parameters: dict[str, str]


def told(sources: dict[str, SourceHealth]) -> dict[str, Any]:
    """The details of a heartbeat that tell it."""
    return {"sources": msgspec.to_builtins(sources)}
