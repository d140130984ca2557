"""Tables made to match objects: the steps that lose nothing, and on demand those that do."""

from __future__ import annotations

from collections.abc import Sequence

from objectql.drivers.protocol import Driver, SchemaPlan
from objectql.ids import DataSource
from objectql.metadata.model import ObjectDef
from objectql.metadata.registry import MetadataSnapshot


def kept_in(snapshot: MetadataSnapshot, source: DataSource) -> list[ObjectDef]:
    """The objects whose records the data source keeps."""
    return [o for o in snapshot.objects.values() if o.datasource == source]


async def sync_tables(driver: Driver, objects: Sequence[ObjectDef]) -> SchemaPlan:
    """What was done, and what was refused because it would lose data."""
    plan = await driver.plan_schema(objects)
    await driver.apply_schema(plan)
    return plan


async def lose_data(driver: Driver, object_: ObjectDef) -> tuple[str, ...]:
    """Do to the table of `object_` what `sync_tables` refuses; what that was."""
    plan = await driver.plan_schema([object_], allow_destructive=True)
    lossy = tuple(step for step in plan.steps if step.destructive)
    await driver.apply_schema(SchemaPlan(lossy))
    return tuple(step.description for step in lossy)
