"""JSON bodies: decoded once, with every failure a typed error that says where.

Records inside an envelope stay the bytes they came as (`msgspec.Raw`), so no number is rounded on
its way to the kernel.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from inspect import isclass
from typing import Any, TypeVar, cast

import msgspec

from objectql.errors import InvalidJson, InvalidRequest, Issue, MediaTypeUnsupported
from objectql.errors import suggestion_text as did_you_mean

T = TypeVar("T")

_JSON_TYPE = re.compile(r"(application|text)/([\w.-]+\+)?json\s*(;.*)?\Z", re.IGNORECASE)
_CHARSET = re.compile(r"charset\s*=\s*\"?([\w-]+)", re.IGNORECASE)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"[]{}", b"()()")
_AT = re.compile(r" - at `\$?\.?(.*)`\Z")
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")


def check_content_type(content_type: str | None) -> None:
    """Return if a body of this type is read; none at all is taken for JSON.

    Raises:
        MediaTypeUnsupported: it is something else than JSON in UTF-8.

    """
    if content_type is None or content_type == "application/json":
        return
    charset = _CHARSET.search(content_type)
    if _JSON_TYPE.match(content_type.strip()) is None or (
        charset is not None and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}
    ):
        raise MediaTypeUnsupported(content_type=content_type[:100])


def is_nested_deeper(body: bytes, limit: int) -> bool:
    """Whether the valid JSON text `body` has more than `limit` levels of lists and objects.

    Each pass removes every innermost pair of brackets, in C, so it costs a pass per level.
    """
    if body.count(b"{") + body.count(b"[") <= limit:
        return False
    brackets = _STRING.sub(b"", body).translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(limit):
        brackets = brackets.replace(b"()", b"")
        if not brackets:
            return False
    return True


def decode_json(body: bytes, type_: type[T], *, nesting: int) -> T:
    """`body` as a `type_`.

    Raises:
        InvalidJson: not JSON; the message names the byte where known.
        InvalidRequest: JSON of another shape; `issues` names the place.

    """
    try:
        value = decoder(type_).decode(body)
    except msgspec.ValidationError as exc:
        raise _shape_error(str(exc), type_) from exc
    except msgspec.DecodeError as exc:
        if not body.strip():
            raise InvalidJson(reason="it is empty") from exc
        raise InvalidJson(reason=str(exc).removeprefix("JSON is malformed: ")) from exc
    except UnicodeDecodeError as exc:
        raise InvalidJson(reason=f"it is not UTF-8 (byte {exc.start})") from exc
    except RecursionError as exc:
        raise InvalidJson(reason=f"it is nested deeper than {nesting} levels") from exc
    if is_nested_deeper(body, nesting):
        raise InvalidJson(reason=f"it is nested deeper than {nesting} levels")
    return value


def decoder(type_: type[T]) -> msgspec.json.Decoder[T]:
    """The decoder of `type_`, made once."""
    found = _decoders.get(type_)
    if found is None:
        found = _decoders[type_] = msgspec.json.Decoder(type_)
    return found


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def _shape_error(text: str, type_: type[Any]) -> InvalidRequest:
    place = _AT.search(text)
    path = re.sub(r"\[(\d+)\]", r".\1", place[1]) if place else ""
    reason = text[: place.start()] if place else text
    code = "invalid_type"
    if (unknown := _UNKNOWN.search(reason)) is not None:
        code = "unknown_field"
        near = tuple(get_close_matches(unknown[1], _keys(type_), 2))
        path = f"{path}.{unknown[1]}".lstrip(".")
        reason = f'unknown key "{unknown[1]}"{did_you_mean(near)}'
    elif (missing := _MISSING.search(reason)) is not None:
        code = "required"
        path = f"{path}.{missing[1]}".lstrip(".")
        reason = f'"{missing[1]}" is missing'
    path = path.lstrip(".")
    message = f"{path}: {reason}" if path and code == "invalid_type" else reason
    return InvalidRequest(reason=message, issues=(Issue(path=path, code=code, message=reason),))


def _keys(type_: type[Any]) -> list[str]:
    if isclass(type_) and issubclass(type_, msgspec.Struct):
        return [field.encode_name for field in msgspec.structs.fields(type_)]
    return []


def decode_object(body: bytes, *, nesting: int) -> dict[str, Any]:
    """`body` as a JSON object."""
    return decode_json(body, dict[str, Any], nesting=nesting)


def decode_document(body: bytes, *, nesting: int) -> dict[str, Any]:
    """`body` as a JSON object of conditions and the like, in which no key stands twice.

    Decoders keep one of two values of a key: half of a filter would be gone without a word.

    Raises:
        InvalidJson: also for a key that stands twice.

    """
    document = decode_object(body, nesting=nesting)
    keys = _count_keys(document)
    # Every key has a colon. There are more only where strings hold some, or where keys repeat.
    if body.count(b":") != keys and _STRING.sub(b"", body).count(b":") != keys:
        raise InvalidJson(reason="a key stands twice in one object")
    return document


def _count_keys(value: Any) -> int:
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return len(members) + sum(map(_count_keys, members.values()))
    if isinstance(value, list):
        return sum(map(_count_keys, cast("list[Any]", value)))
    return 0


def first_byte(body: bytes) -> bytes:
    """The first byte that is not white space: what kind of JSON it is."""
    return body.lstrip(b" \t\r\n")[:1]
