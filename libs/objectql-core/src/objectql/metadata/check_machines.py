"""State machines: states, edges and the field that holds the state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from objectql.metadata.document import Node
from objectql.metadata.keys import EDGE, MACHINE, STATE, read_keys
from objectql.metadata.model import FieldDef

_STATE_FIELDS = ("status", "state", "workflow_state")
_STATE_TYPES = ("final", "atomic", "compound")


def check_machine(
    node: Node, fields: Mapping[str, FieldDef], field_name: str | None = None
) -> tuple[str, dict[str, Any]] | None:
    """The field of the machine at `node` and the machine; None if either is unusable.

    The field is `field_name`, or the document's `state_field`, or the first of `status`, `state`,
    `workflow_state` that the object has. The machine has `initial` and `state_field` filled in.
    """
    keys = read_keys(node, MACHINE)
    if not node.is_mapping:
        return None
    field = _state_field(node, keys, fields, field_name)
    states = keys["states"].entries() if "states" in keys else {}
    if not states:
        keys.get("states", node).fail("machine_without_states", "a state machine needs states")
        return None
    initial = next(iter(states))
    if "initial" in keys:
        initial = keys["initial"].text() or initial
        if initial not in states:
            message = f'there is no state "{initial}"'
            keys["initial"].fail("unknown_initial_state", message, near=initial, among=states)
    known = set(states) | _nested_names(states)
    for state in states.values():
        _check_state(state, known)
    if field is None:
        return None
    options = {str(option.value) for option in fields[field].options}
    for name, state in states.items():
        if options and name not in options:
            message = f'"{name}" is not an option of {field}'
            state.fail("state_not_an_option", message, near=name, among=options)
    machine = {key: member.value for key, member in keys.items()}
    return field, {**machine, "initial": initial, "state_field": field}


def _state_field(
    node: Node, keys: dict[str, Node], fields: Mapping[str, FieldDef], given: str | None
) -> str | None:
    named = keys.get("state_field") or keys.get("field")
    name = named.text() if named is not None else given
    if name is None:
        name = next((candidate for candidate in _STATE_FIELDS if candidate in fields), None)
        if name is None:
            node.fail("machine_without_field", "no stateField, and the object has no status field")
        return name
    if name not in fields:
        at = named or node
        at.fail("unknown_field", f'there is no field "{name}"', near=name, among=fields)
        return None
    return name


def _nested_names(states: Mapping[str, Node], prefix: str = "") -> set[str]:
    names: set[str] = set()
    for name, state in states.items():
        members = state.entries() if state.is_mapping else {}
        if "states" in members and members["states"].is_mapping:
            members = members["states"].entries()
            names |= {f"{prefix}{name}.{sub}" for sub in members} | set(members)
            names |= _nested_names(members, f"{prefix}{name}.")
    return names


def _check_state(node: Node, known: set[str]) -> None:
    if node.value is None:
        return
    keys = read_keys(node, STATE)
    kind = keys["type"].choice(_STATE_TYPES) if "type" in keys else None
    edges = keys["on"].entries() if "on" in keys else {}
    if kind == "final" and edges:
        keys["on"].fail("final_state_has_edges", "nothing leaves a final state")
    for edge in edges.values():
        for target in _targets(edge):
            text = target.text()
            if text is not None and text.removeprefix("#") not in known:
                message = f'there is no state "{text}"'
                target.fail("unknown_target_state", message, near=text, among=known)
    inner = keys["states"].entries() if "states" in keys else {}
    if inner and "initial" in keys and keys["initial"].text() not in inner:
        text = str(keys["initial"].value)
        message = f'there is no state "{text}" inside'
        keys["initial"].fail("unknown_initial_state", message, near=text, among=inner)
    for state in inner.values():
        _check_state(state, known)


def _targets(edge: Node) -> list[Node]:
    """The target of `REVIEW`, `{target: REVIEW}` or a list of them."""
    if edge.is_list:
        return [target for element in edge.elements() for target in _targets(element)]
    if not edge.is_mapping:
        return [edge]
    keys = read_keys(edge, EDGE)
    if "target" not in keys:
        edge.fail("edge_without_target", "an edge needs a target")
        return []
    return [keys["target"]]
