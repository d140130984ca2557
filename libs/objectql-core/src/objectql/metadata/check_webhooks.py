"""Webhooks that packages declare: their keys, and the names of objects.

Secrets and headers are not among the keys: metadata are shown to every caller.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from objectql.ids import ObjectName
from objectql.metadata.check_items import check_item
from objectql.metadata.document import Node
from objectql.metadata.keys import WEBHOOK, read_keys
from objectql.metadata.model import Item, ObjectDef

_EVENTS = ("created", "updated", "deleted")
_NEEDED = ("url", "objects", "run_as")


def check_webhook(node: Node, objects: Mapping[ObjectName, ObjectDef]) -> Item | None:
    """The item, by canonical keys; its filter and fields are looked at when it is put in force."""
    item = check_item(node, objects)
    if item is None:
        return None
    keys = read_keys(node, WEBHOOK)
    for name in _NEEDED:
        if name not in keys:
            node.fail("webhook_incomplete", f"a webhook needs `{name}`")
    if "url" in keys:
        keys["url"].text()
    for name, element in keys["objects"].texts() if "objects" in keys else ():
        if name not in objects:
            message = f'there is no object "{name}"'
            element.fail("unknown_reference", message, near=name, among=objects)
    for element in keys["events"].elements() if "events" in keys else ():
        element.choice(_EVENTS)
    content = {key: member.value for key, member in keys.items()}
    return msgspec.structs.replace(item, content=content)
