"""Whether the default of a field is a value that the field accepts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from objectql.metadata.document import Node, describe
from objectql.metadata.model import FieldDef
from objectql.metadata.types import NUMERIC, Storage
from objectql.values import canonical_date, canonical_instant, canonical_time

NOW_TOKENS = frozenset({"$now", "NOW()", "now()"})
TODAY_TOKENS = frozenset({"$today", "TODAY()", "today()"})
ACTOR_TOKENS = frozenset({"$current_user.id", "$current_user", "current_user"})
_TEMPORAL = {
    Storage.DATE: canonical_date,
    Storage.DATETIME: canonical_instant,
    Storage.TIME: canonical_time,
}


def check_default(field: FieldDef, node: Node | None) -> Any:
    """The default to keep: a literal, a token or `{"expression": ...}`; None if there is none."""
    if node is None or node.value is None:
        return None
    value: Any = node.value
    if node.is_mapping and (field.storage is not Storage.JSON or set(value) == {"expression"}):
        return _expression(node)
    if isinstance(value, str) and (value.startswith("$") or value.endswith("()")):
        return _token(field, node, value)
    if value == "current_user" and field.storage is Storage.TEXT and not field.options:
        return value
    if field.options and field.type != "tags":
        return _option(field, node)
    problem = _literal_problem(field, value)
    if problem:
        node.fail("default_wrong_type", f"{problem}, not {describe(value)}")
        return None
    _range(field, node)
    return value


def _expression(node: Node) -> Any:
    members = cast("Mapping[str, Any]", node.value)
    text = members.get("expression", members.get("source"))
    if not isinstance(text, str) or not text.strip():
        node.fail("default_wrong_type", "a computed default is written {expression: ...}")
        return None
    return {"expression": text}


def _token(field: FieldDef, node: Node, token: str) -> Any:
    temporal = field.storage in (Storage.DATE, Storage.DATETIME, Storage.TIME)
    known = (*NOW_TOKENS, *TODAY_TOKENS, *ACTOR_TOKENS)
    if token.startswith("$current_user.") or token in ACTOR_TOKENS:
        fits = field.storage is Storage.TEXT
    elif token in NOW_TOKENS or token in TODAY_TOKENS:
        fits = temporal
    elif token.startswith("$") and not field.options and not temporal:
        return token  # a plain text such as "$100"
    else:
        message = f'"{token}" stands for nothing'
        node.fail("default_unknown_token", message, near=token, among=known)
        return None
    if fits:
        return token
    node.fail("default_wrong_type", f"{token} is no {field.storage} value")
    return None


def _option(field: FieldDef, node: Node) -> Any:
    allowed = [option.value for option in field.options]
    values = cast("list[Any]", node.value) if node.is_list else [node.value]
    if (field.storage is Storage.LIST) is not node.is_list:
        expected = "a list of options" if field.storage is Storage.LIST else "one option"
        node.fail("default_wrong_type", f"{expected} is expected, not {describe(node.value)}")
        return None
    for value in values:
        if not any(type(value) is type(option) and value == option for option in allowed):
            names = [str(option) for option in allowed]
            message = f'"{value}" is not one of the options'
            node.fail("default_not_an_option", message, near=str(value), among=names)
            return None
    return node.value


def _literal_problem(field: FieldDef, value: Any) -> str:
    storage = field.storage
    if storage in NUMERIC:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return "a number is expected"
        whole = storage is not Storage.INTEGER or float(value).is_integer()
        return "" if math.isfinite(value) and whole else "a whole number is expected"
    if storage is Storage.BOOLEAN:
        return "" if isinstance(value, bool) else "true or false is expected"
    if storage is Storage.LIST:
        return "" if isinstance(value, list) else "a list is expected"
    if storage is Storage.JSON:
        return ""
    if not isinstance(value, str):
        return "text is expected"
    if storage in _TEMPORAL:
        try:
            _TEMPORAL[storage](value)
        except ValueError as exc:
            return str(exc)
    return ""


def _range(field: FieldDef, node: Node) -> None:
    value = node.value
    if isinstance(value, int | float) and not isinstance(value, bool):
        below = field.min is not None and value < field.min
        if below or (field.max is not None and value > field.max):
            node.fail("default_out_of_range", f"{value} is outside the field's own limits")
    elif isinstance(value, str):
        short = field.min_length is not None and len(value) < field.min_length
        if short or (field.max_length is not None and len(value) > field.max_length):
            node.fail("default_out_of_range", "the default breaks the field's own length limits")
