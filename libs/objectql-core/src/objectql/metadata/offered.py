"""What an object offers to clients: `enable.apiMethods` and `enable.apiEnabled` of its metadata.

They are about clients' operations, whoever asks and through whatever gateway. Hooks, actions and
relations that are followed from other objects are the application's own, and not restricted.
"""

from __future__ import annotations

from typing import Final

from objectql.errors import MethodNotAllowed
from objectql.metadata.model import ObjectDef

_LIST: Final = ("list",)
_GET: Final = ("get",)
_CREATE: Final = ("create",)
_UPDATE: Final = ("update",)

_METHODS: Final = {
    "find": _LIST,
    "aggregate": _LIST,
    "export": _LIST,
    "explain": _LIST,
    "search": _LIST,
    "subscribe": _LIST,
    "get": _GET,
    "history": _GET,
    "shares": _GET,
    "create": _CREATE,
    "update": _UPDATE,
    "share": _UPDATE,
    "upsert": (*_CREATE, *_UPDATE),
    "delete": ("delete",),
    "bulk": ("bulk",),
}
"""What is needed for the operations of clients; actions and metadata have permissions only."""

_BY_RIGHT: Final = {"read": ("get", "find"), "transfer": ("update",)}


def offers(object_: ObjectDef, operation: str) -> bool:
    """Whether clients may ask for `operation`."""
    return _missing(object_, operation) is None


def offers_right(object_: ObjectDef, right: str) -> bool:
    """Whether clients may ask for anything that `right` (or the grant `export`) is for."""
    return any(offers(object_, operation) for operation in _BY_RIGHT.get(right, (right,)))


def check_offered(object_: ObjectDef | None, operation: str) -> None:
    """Return if clients may ask for `operation`; of an unknown object others tell.

    Raises:
        MethodNotAllowed: with what the object offers.

    """
    missing = None if object_ is None else _missing(object_, operation)
    if object_ is not None and missing is not None:
        enable = object_.enable
        offered = enable.api_methods if enable.api_enabled else ()
        raise MethodNotAllowed(method=missing, allowed=offered)


def _missing(object_: ObjectDef, operation: str) -> str | None:
    """What `operation` needs and the object does not offer."""
    enable = object_.enable
    if enable.api_enabled and not enable.api_methods:
        return None
    needed = _METHODS.get(operation, ())
    offered = enable.api_methods if enable.api_enabled else ()
    return next((method for method in needed if method not in offered), None)
