"""Seed rows: inserted through the ordinary pipeline as the system, once.

A row that names its id, or the value of an external id or unique field, is inserted when no record
has it. Rows without such a key are inserted only while their object is empty. Objects come in an
order in which lookups find their targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from objectql.metadata.model import ObjectDef, SeedData
from objectql.metadata.registry import MetadataSnapshot


class SeedTarget(Protocol):
    """The operations that seeding needs, as the system actor."""

    async def count(self, object: str, query: Mapping[str, Any] | None = None) -> int: ...
    async def create(self, object: str, data: Mapping[str, Any]) -> dict[str, Any]: ...


async def seed(snapshot: MetadataSnapshot, target: SeedTarget) -> int:
    """Insert what is missing; how many records that were."""
    made = 0
    for data in in_lookup_order(snapshot, snapshot.seeds):
        object_ = snapshot.object(data.object)
        is_empty = await target.count(data.object) == 0
        for record in data.records:
            key = key_of(object_, record)
            if key is None:
                if not is_empty:
                    continue
            elif await target.count(data.object, {"where": key}):
                continue
            await target.create(data.object, record)
            made += 1
    return made


def key_of(object_: ObjectDef, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The condition that finds the record which `record` would make, if it names one."""
    if record.get("id") is not None:
        return {"id": record["id"]}
    for wanted in ("external_id", "unique"):
        for field in object_.fields.values():
            if getattr(field, wanted) and record.get(field.name) is not None:
                return {field.name: record[field.name]}
    return None


def in_lookup_order(snapshot: MetadataSnapshot, seeds: Sequence[SeedData]) -> list[SeedData]:
    """`seeds` with the targets of lookups before the objects that point to them.

    Within a cycle the given order stays.
    """
    ordered: list[SeedData] = []
    visited: set[str] = set()

    def visit(name: str) -> None:
        if name in visited:
            return
        visited.add(name)
        for field in snapshot.object(name).fields.values():
            if field.reference is not None:
                visit(field.reference)
        ordered.extend(data for data in seeds if data.object == name)

    for data in seeds:
        visit(data.object)
    return ordered
