"""`required_permissions` of objects, fields and actions: names of system permissions.

Permission sets grant them; who lacks one of those that are required is refused. A name that no set
grants is no mistake: then it is for administrators only.
"""

from __future__ import annotations

from objectql.metadata import keys as accepted
from objectql.metadata.document import Node
from objectql.metadata.keys import read_keys


def check_required(node: Node) -> tuple[str, ...]:
    """The names, all of which are required."""
    return tuple(text for text, _ in node.texts())


def check_required_of_object(node: Node) -> None:
    """A list for all operations, or a list for each of them."""
    if not node.is_mapping:
        check_required(node)
        return
    for member in read_keys(node, accepted.REQUIRED).values():
        check_required(member)
