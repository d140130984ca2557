"""Create or update, by whether a record with the same identity is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from objectql.errors import InvalidRequest
from objectql.kernel.change import Change
from objectql.kernel.unit import Unit
from objectql.metadata.model import ObjectDef
from objectql.query.ast import And, Compare, Op


async def upsert(
    unit: Unit,
    object_name: str,
    data: Mapping[str, Any],
    *,
    match: tuple[str, ...] = (),
    if_version: int | None = None,
) -> Change:
    """Update the record that `data` identifies, or create it.

    `match` are the identifying fields; by default `id` where given, else the external id.

    Raises:
        InvalidRequest: `data` does not identify anything, or identifies several records.

    """
    object_ = unit.scope.model.object(object_name)
    fields = match or _identity(object_, data)
    missing = [name for name in fields if data.get(name) is None]
    if missing:
        raise InvalidRequest(reason=f"an upsert by {', '.join(fields)} needs {missing[0]}")
    unit.scope.policy.check("update", object_name)
    found = await unit.find_ids(object_name, _filter(fields, data))
    if len(found) > 1:
        raise InvalidRequest(reason=f"several records have the same {', '.join(fields)}")
    if not found:
        return await unit.create(object_name, data)
    changes = {key: value for key, value in data.items() if key != "id"}
    return await unit.update(object_name, found[0], changes, if_version=if_version)


def _identity(object_: ObjectDef, data: Mapping[str, Any]) -> tuple[str, ...]:
    if data.get("id") is not None:
        return ("id",)
    external = tuple(f.name for f in object_.fields.values() if f.external_id)
    if not external:
        reason = f"an upsert needs the id, or an external id field of {object_.name}"
        raise InvalidRequest(reason=reason)
    return external[:1]


def _filter(fields: tuple[str, ...], data: Mapping[str, Any]) -> And:
    return And(tuple(Compare((name,), Op.EQ, data[name], at=name) for name in fields))
