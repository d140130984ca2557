"""Metadata as a caller may see it: without the fields that do not exist for the caller."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias, cast

from objectql.ids import ObjectName
from objectql.metadata.check_permission_sets import KIND
from objectql.metadata.model import ObjectDef, ObjectPermissions
from objectql.metadata.registry import Definition
from objectql.security.policy import AccessRules

Objects: TypeAlias = Mapping[ObjectName, ObjectDef]

_NAMES_ONLY: Final = frozenset({KIND, "webhook"})
_KEYS_OF_ITEMS: Final = frozenset({"name", "type", "object", "fields"})
"""Members of every view: that they are there tells nothing of a field that is called so."""

_WORD: Final = re.compile(r"\w+")


def hidden_fields(object_: ObjectDef, policy: AccessRules) -> frozenset[str]:
    """The fields of the object that the caller may not know of."""
    readable = policy.access(object_.name).readable
    return frozenset() if readable is None else frozenset(object_.fields) - readable - {"id"}


def shown_definition(
    document: dict[str, Any], definition: Definition, policy: AccessRules, objects: Objects
) -> dict[str, Any]:
    """`document`, one of the metadata that have `objects`, without what the caller may not know of.

    Of a permission file or set, which names roles and fields, and of a webhook, which is the
    administrators' own, a caller who is bound by rules sees the name only.
    """
    if isinstance(definition, ObjectDef):
        return without_fields(document, hidden_fields(definition, policy))
    if policy.shape == "full":
        return document
    if isinstance(definition, ObjectPermissions):
        return {"object": definition.object}
    if definition.type in _NAMES_ONLY:
        return {"name": definition.name}
    return shown_item(document, policy, objects)


def shown_item(document: dict[str, Any], policy: AccessRules, objects: Objects) -> dict[str, Any]:
    """A view, report or the like without the hidden fields of the objects that it names.

    It names an object by its name anywhere, or by a lookup that leads to it.
    """
    words = frozenset(_words(document))
    named = [objects[ObjectName(word)] for word in sorted(words & objects.keys())]
    for object_ in named:  # grows
        for field in object_.fields.values():
            target = None if field.reference is None else objects.get(ObjectName(field.reference))
            if field.name in words and target is not None and target not in named:
                named.append(target)
    hidden = frozenset[str]().union(*(hidden_fields(object_, policy) for object_ in named))
    return without_keys(without_fields(document, hidden), hidden - _KEYS_OF_ITEMS)


def without_keys(value: Any, hidden: frozenset[str]) -> Any:
    """`value` without the members that have a name of `hidden`, as in translations."""
    if isinstance(value, list):
        return [without_keys(item, hidden) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    members = cast("dict[str, Any]", value)
    return {key: without_keys(of, hidden) for key, of in members.items() if key not in hidden}


def _words(value: Any) -> Iterator[str]:
    """All that could be a name, in texts and keys."""
    if isinstance(value, str):
        yield from _WORD.findall(value)
    elif isinstance(value, dict):
        for key, member in cast("dict[str, Any]", value).items():
            yield key
            yield from _words(member)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _words(item)


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
