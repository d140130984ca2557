"""Metadata as a caller may see it: without the fields that do not exist for the caller."""

from __future__ import annotations

import re
from typing import Any, cast

from objectql.metadata.check_permission_sets import KIND
from objectql.metadata.model import Item, ObjectDef, ObjectPermissions
from objectql.metadata.registry import Definition
from objectql.security.policy import AccessRules


def hidden_fields(object_: ObjectDef, policy: AccessRules) -> frozenset[str]:
    """The fields of the object that the caller may not know of."""
    readable = policy.access(object_.name).readable
    return frozenset() if readable is None else frozenset(object_.fields) - readable - {"id"}


def shown_definition(
    document: dict[str, Any], definition: Definition, policy: AccessRules
) -> dict[str, Any]:
    """`document` without what the caller may not know of.

    Of a permission file or set, which names roles and fields, a caller who is bound by one sees
    the name only.
    """
    if isinstance(definition, ObjectDef):
        return without_fields(document, hidden_fields(definition, policy))
    if isinstance(definition, ObjectPermissions) and policy.shape != "full":
        return {"object": definition.object}
    if isinstance(definition, Item) and definition.type == KIND and policy.shape != "full":
        return {"name": definition.name}
    return document


def without_fields(document: dict[str, Any], hidden: frozenset[str]) -> dict[str, Any]:
    """`document` without the fields of `hidden` and without what mentions them.

    An item of a list (a rule, a column) goes as a whole; a text goes when it has such a name as a
    word. That may take away more than it must, never less.
    """
    if not hidden:
        return document
    word = re.compile(rf"(?<![A-Za-z0-9_])({'|'.join(map(re.escape, hidden))})(?![A-Za-z0-9_])")
    return cast("dict[str, Any]", _pruned(document, hidden, word))


def _pruned(value: Any, hidden: frozenset[str], word: re.Pattern[str]) -> Any:
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return [item for item in items if not _mentions(item, word)]
    if not isinstance(value, dict):
        return value
    kept: dict[str, Any] = {}
    for key, member in cast("dict[str, Any]", value).items():
        if isinstance(member, str) and _mentions(member, word):
            continue
        if key == "fields" and isinstance(member, dict):
            fields = cast("dict[str, Any]", member)
            member = {name: field for name, field in fields.items() if name not in hidden}
            kept[key] = {n: {"name": n, **_pruned(f, hidden, word)} for n, f in member.items()}
        else:
            kept[key] = _pruned(member, hidden, word)
    return kept


def _mentions(value: Any, word: re.Pattern[str]) -> bool:
    """Whether a text anywhere inside has such a name."""
    if isinstance(value, str):
        return word.search(value) is not None
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return any(_mentions(member, word) for member in members.values())
    return isinstance(value, list) and any(
        _mentions(item, word) for item in cast("list[Any]", value)
    )
