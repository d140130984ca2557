"""What changes from one snapshot to the next, and what it would do to data and callers.

`safe` loses nothing and refuses nothing that was accepted; `risky` may refuse a write, or fail on
rows that are stored already; `breaking` loses data or an operation that callers may use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from objectql.metadata.model import FieldDef, Item, ObjectDef
from objectql.metadata.registry import MetadataSnapshot
from objectql.metadata.types import Storage

Risk: TypeAlias = Literal["safe", "risky", "breaking"]
_RANK: dict[Risk, int] = {"safe": 0, "risky": 1, "breaking": 2}

_WIDENING = frozenset(
    {
        (Storage.INTEGER, Storage.FLOAT),
        (Storage.INTEGER, Storage.DECIMAL),
        (Storage.DATE, Storage.DATETIME),
        *((storage, Storage.TEXT) for storage in Storage if storage is not Storage.NONE),
    }
)


class Change(NamedTuple):
    """One change: `path` is `invoice.fields.total.type`, `kind` a fixed word."""

    path: str
    kind: str
    risk: Risk
    detail: str


def diff_snapshots(old: MetadataSnapshot, new: MetadataSnapshot) -> tuple[Change, ...]:
    """Every change, the gravest first and then by path."""
    changes = [*_objects(old, new), *_permissions(old, new), *_items(old, new)]
    return tuple(sorted(changes, key=lambda c: (-_RANK[c.risk], c.path, c.kind)))


def gravest(changes: tuple[Change, ...]) -> Risk:
    """The highest risk among `changes`; `safe` if there are none."""
    found = {change.risk for change in changes}
    if "breaking" in found:
        return "breaking"
    return "risky" if "risky" in found else "safe"


def _objects(old: MetadataSnapshot, new: MetadataSnapshot) -> Iterator[Change]:
    for name in new.objects.keys() - old.objects.keys():
        yield Change(name, "object_added", "safe", f"the object {name} is new")
    for name, before in old.objects.items():
        after = new.objects.get(name)
        if after is None:
            yield Change(name, "object_removed", "breaking", f"the object {name} is gone")
        elif after != before:
            yield from _object(before, after)


def _object(old: ObjectDef, new: ObjectDef) -> Iterator[Change]:
    name = old.name
    for key in ("table", "datasource"):
        if getattr(old, key) != getattr(new, key):
            detail = f"{getattr(old, key)} becomes {getattr(new, key)}; rows do not move"
            yield Change(f"{name}.{key}", f"{key}_changed", "breaking", detail)
    for field in new.fields.keys() - old.fields.keys():
        yield _added_field(name, new.fields[field])
    for field, before in old.fields.items():
        after = new.fields.get(field)
        path = f"{name}.fields.{field}"
        if after is None:
            yield Change(path, "field_removed", "breaking", f"{field} and its values are gone")
        elif after != before:
            yield from _field(path, before, after)
    yield from _indexes(old, new)
    for action in old.actions.keys() - new.actions.keys():
        path = f"{name}.actions.{action}"
        yield Change(path, "action_removed", "breaking", f"callers of {action} will fail")
    for action in new.actions.keys() - old.actions.keys():
        yield Change(f"{name}.actions.{action}", "action_added", "safe", f"{action} is new")
    for action in old.actions.keys() & new.actions.keys():
        if old.actions[action] != new.actions[action]:
            path = f"{name}.actions.{action}"
            yield Change(path, "action_changed", "risky", "its parameters or kind changed")
    if old.validations != new.validations:
        yield Change(f"{name}.validation", "rules_changed", "risky", "other writes are refused")
    if old.state_machines != new.state_machines:
        path = f"{name}.stateMachine"
        yield Change(path, "state_machine_changed", "risky", "other transitions are refused")
    yield from _object_flags(old, new)


def _object_flags(old: ObjectDef, new: ObjectDef) -> Iterator[Change]:
    path = f"{old.name}.enable"
    if old.enable.api_enabled and not new.enable.api_enabled:
        yield Change(path, "api_disabled", "breaking", "the object leaves the API")
    elif old.enable != new.enable:
        yield Change(path, "features_changed", "risky", "other features are on")
    if new.require_version and not old.require_version:
        path = f"{old.name}.requireVersion"
        yield Change(path, "version_required", "risky", "writes without a version are refused")


def _added_field(object: str, field: FieldDef) -> Change:
    path = f"{object}.fields.{field.name}"
    if field.required and field.default is None and not field.info.computed:
        detail = f"{field.name} is required and stored rows have no value for it"
        return Change(path, "required_field_added", "risky", detail)
    return Change(path, "field_added", "safe", f"{field.name} is new")


def _field(path: str, old: FieldDef, new: FieldDef) -> Iterator[Change]:
    if old.storage is not new.storage:
        widens = (old.storage, new.storage) in _WIDENING
        detail = f"values are kept as {new.storage} instead of {old.storage}"
        yield Change(f"{path}.type", "storage_changed", "risky" if widens else "breaking", detail)
    elif old.type != new.type:
        detail = f"{old.type} becomes {new.type}, kept alike"
        yield Change(f"{path}.type", "type_changed", "risky", detail)
    for key, compare in _FIELD_CHECKS.items():
        before, after = getattr(old, key), getattr(new, key)
        if before != after:
            risk = compare(before, after)
            yield Change(f"{path}.{key}", f"{key}_changed", risk, f"{before} becomes {after}")
    yield from _options(path, old, new)


def _options(path: str, old: FieldDef, new: FieldDef) -> Iterator[Change]:
    before = {option.value for option in old.options}
    after = {option.value for option in new.options}
    gone = [option.value for option in old.options if option.value not in after]
    if gone and new.options:
        detail = f"rows may hold {', '.join(map(str, gone))}, which is no option any more"
        yield Change(f"{path}.options", "options_removed", "risky", detail)
    if after - before:
        yield Change(f"{path}.options", "options_added", "safe", "more values are accepted")


def _on(before: Any, after: Any) -> Risk:
    """Switching it on may refuse what is accepted now."""
    return "risky" if after and not before else "safe"


def _lower_bound(before: float | None, after: float | None) -> Risk:
    return "safe" if after is None or (before is not None and after < before) else "risky"


def _upper_bound(before: float | None, after: float | None) -> Risk:
    return "safe" if after is None or (before is not None and after > before) else "risky"


def _removing_is_safe(_before: Any, after: Any) -> Risk:
    return "safe" if after is None else "risky"


def _risky(_before: Any, _after: Any) -> Risk:
    return "risky"


def _breaking(_before: Any, _after: Any) -> Risk:
    return "breaking"


def _safe(_before: Any, _after: Any) -> Risk:
    return "safe"


_FIELD_CHECKS: dict[str, Callable[[Any, Any], Risk]] = {
    "required": _on,
    "unique": _on,
    "readonly": _on,
    "multiple": _breaking,
    "min": _lower_bound,
    "max": _upper_bound,
    "min_length": _lower_bound,
    "max_length": _upper_bound,
    "pattern": _removing_is_safe,
    "checks": _removing_is_safe,
    "scale": _risky,
    "precision": _risky,
    "dimension": _breaking,
    "reference": _breaking,
    "delete_behavior": _risky,
    "formula": _risky,
    "summary": _risky,
    "fields": _risky,
    "default": _safe,
    "label": _safe,
    "description": _safe,
    "index": _safe,
}


def _indexes(old: ObjectDef, new: ObjectDef) -> Iterator[Change]:
    before = {index.name: index for index in old.indexes}
    after = {index.name: index for index in new.indexes}
    for name, index in after.items():
        if before.get(name) == index:
            continue
        risk: Risk = "risky" if index.unique else "safe"
        kind = "index_changed" if name in before else "index_added"
        yield Change(f"{old.name}.indexes.{name}", kind, risk, f"over {', '.join(index.fields)}")
    for name in before.keys() - after.keys():
        yield Change(f"{old.name}.indexes.{name}", "index_removed", "safe", "it is dropped")


def _permissions(old: MetadataSnapshot, new: MetadataSnapshot) -> Iterator[Change]:
    for name in sorted(old.permissions.keys() | new.permissions.keys()):
        if old.permissions.get(name) != new.permissions.get(name):
            path = f"permission:{name}"
            yield Change(path, "permissions_changed", "risky", "others may do other things")


def _items(old: MetadataSnapshot, new: MetadataSnapshot) -> Iterator[Change]:
    before, after = _by_key(old), _by_key(new)
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) == after.get(key):
            continue
        kind = "added" if key not in before else "removed" if key not in after else "changed"
        yield Change(":".join(key), f"item_{kind}", "safe", f"the {key[0]} {key[1]} is {kind}")


def _by_key(snapshot: MetadataSnapshot) -> Mapping[tuple[str, str], Item]:
    return {(item.type, item.name): item for item in snapshot.items}
