"""Documents that are kept and served as they are: the name and the object are checked."""

from __future__ import annotations

from collections.abc import Mapping

from objectql.ids import ObjectName
from objectql.metadata.document import Node
from objectql.metadata.model import Item, ObjectDef

MAX_ITEM_NAME = 200
_WORKFLOW_TYPES = "approval automation scheduled sequential parallel custom".split()


def check_item(node: Node, objects: Mapping[ObjectName, ObjectDef]) -> Item | None:
    """The item; None if the document is no mapping."""
    if not node.is_mapping:
        node.fail("document_not_mapping", f"a {node.document.type} document is a mapping")
        return None
    members = node.entries()
    name = node.document.name
    if "name" in members:
        name = members["name"].text() or name
    if not 0 < len(name) <= MAX_ITEM_NAME or not name.isprintable():
        members.get("name", node).fail("bad_name", "a name is 1 to 200 printable characters")
    if "object" in members:
        target = members["object"].text()
        if target is not None and target not in objects and node.document.type != "translation":
            message = f'there is no object "{target}"'
            members["object"].fail("unknown_reference", message, near=target, among=objects)
    if node.document.type == "workflow" and "states" not in members:
        _check_steps(node, members)
    content = {key: member.value for key, member in members.items()}
    return Item(node.document.type, name, content, node.document.layer, node.document.path or None)


def _check_steps(node: Node, members: dict[str, Node]) -> None:
    if "type" in members:
        members["type"].choice(_WORKFLOW_TYPES)
    if "steps" not in members:
        node.fail("workflow_without_steps", "a workflow has `steps`, or `states`")
        return
    steps: dict[str, dict[str, Node]] = {}
    for element in members["steps"].elements():
        parts = element.entries()
        name = parts["name"].text() if "name" in parts else None
        if name is None:
            element.fail("step_without_name", "a step needs a name")
        elif name in steps:
            parts["name"].fail("duplicate_step", f'the step "{name}" is declared twice')
        else:
            steps[name] = parts
    links = [parts["next_step"] for parts in steps.values() if "next_step" in parts]
    links += [members["initial_step"]] if "initial_step" in members else []
    for link in links:
        if link.value not in steps:
            message = f'there is no step "{link.value}"'
            link.fail("unknown_step", message, near=str(link.value), among=steps)
