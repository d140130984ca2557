"""What callers may read of the published objects, as documents that describe the API tell it.

Only a description: whatever is asked, kernels decide.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from objectql.context import Actor
from objectql.ids import FieldName, ObjectName
from objectql.metadata.registry import MetadataSnapshot
from objectql.security.permissions import PermissionCompiler

Readable: TypeAlias = Callable[[ObjectName], frozenset[FieldName] | None]
"""The fields of an object that somebody may read; None: all."""


@lru_cache(maxsize=4)
def _compiler(snapshot: MetadataSnapshot) -> PermissionCompiler:
    return PermissionCompiler(snapshot, default="allow")


def readable_by(snapshot: MetadataSnapshot, actor: Actor) -> Readable:
    """What `actor` may read."""
    policy = _compiler(snapshot).policy(actor)
    return lambda name: policy.access(name).readable
