"""The operations of a batch, as functions that write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

Operation: TypeAlias = dict[str, Any]


class Transaction(msgspec.Struct, frozen=True):
    """What became of a batch; `in_doubt` is settled later, see `Client.transaction`."""

    id: str
    state: Literal["active", "in_doubt", "committed", "aborted"]


class BatchResult(msgspec.Struct, frozen=True):
    """One result per operation, in order."""

    results: tuple[dict[str, Any], ...] = ()
    transaction: Transaction | None = None


def create(object: str, data: Mapping[str, Any]) -> Operation:
    """Create a record."""
    return {"object": object, "action": "create", "data": dict(data)}


def update(
    object: str,
    id: str | Mapping[str, int],
    data: Mapping[str, Any],
    *,
    if_version: int | None = None,
) -> Operation:
    """Change fields of a record; `id` may be `ref(n)`."""
    operation: Operation = {"object": object, "action": "update", "id": id, "data": dict(data)}
    return operation if if_version is None else operation | {"if_version": if_version}


def upsert(object: str, data: Mapping[str, Any]) -> Operation:
    """Create a record, or change the one with the same id."""
    return {"object": object, "action": "upsert", "data": dict(data)}


def delete(object: str, id: str | Mapping[str, int], *, if_version: int | None = None) -> Operation:
    """Delete a record."""
    operation: Operation = {"object": object, "action": "delete", "id": id}
    return operation if if_version is None else operation | {"if_version": if_version}


def ref(number: int) -> dict[str, int]:
    """The id that the `number`-th operation (from 0) gives its record."""
    return {"$ref": number}


def inc(by: float) -> dict[str, float]:
    """`by` more than the field holds."""
    return {"$inc": by}
