"""What the loader cannot see: whether conditions, formulas, rules and defaults mean something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from objectql.errors import Issue, MetadataInvalid
from objectql.formula.fields import program_of
from objectql.formula.syntax import FormulaError
from objectql.kernel.rules import NO_MEANING, compile_rules
from objectql.kernel.validate import compile_validator
from objectql.metadata.document import Document, Node, Problems
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.registry import MetadataSnapshot
from objectql.metadata.tenant_snapshot import TenantSnapshot
from objectql.security.reading import check_rules

_SPELLINGS = ("expression", "formula")


def check_meanings(snapshot: MetadataSnapshot) -> tuple[Issue, ...]:
    """Every problem of what documents express, with its place; of a tenant's snapshot its own."""
    is_tenant = isinstance(snapshot, TenantSnapshot)
    objects = snapshot.own if is_tenant else snapshot.objects
    problems = Problems()
    for object_ in objects.values():
        for field in object_.fields.values():
            if field.formula is not None:
                _check_formula(object_, field, snapshot, problems)
        rules = compile_rules(object_, snapshot.object)
        problems.errors += [issue for issue in rules.unsupported if issue.code == NO_MEANING]
        try:
            compile_validator(object_)
        except MetadataInvalid as exc:
            problems.errors += exc.issues
    return (*check_rules(snapshot), *problems.errors)


def _check_formula(
    object_: ObjectDef, field: FieldDef, snapshot: MetadataSnapshot, problems: Problems
) -> None:
    try:
        program_of(object_, field, snapshot.object)
    except FormulaError as exc:
        node = next(_written(object_, field, snapshot, problems), None)
        if node is None:
            path = f"{object_.name}.fields.{field.name}.expression"
            problems.errors.append(Issue(path=path, code=NO_MEANING, message=str(exc)))
        else:
            node.fail(NO_MEANING, str(exc))


def _written(
    object_: ObjectDef, field: FieldDef, snapshot: MetadataSnapshot, problems: Problems
) -> Iterator[Node]:
    """Where the formula is written, as documents of the object say it."""
    for document in snapshot.documents:
        if document.type == "object" and _name_of(document) == object_.name:
            node: Node | None = Node.root(document, problems)
            for keys in (("fields",), (field.name,), _SPELLINGS):
                node = _member(node, keys)
            if node is not None:
                yield node


def _name_of(document: Document) -> str:
    content: Any = document.content
    named = cast("Mapping[str, Any]", content).get("name") if isinstance(content, Mapping) else None
    return str(named or document.name)


def _member(node: Node | None, keys: tuple[str, ...]) -> Node | None:
    if node is None or not node.is_mapping:
        return None
    members = cast("Mapping[str, Any]", node.value)
    key = next((key for key in keys if key in members), None)
    return None if key is None else node.child(key, members[key])
