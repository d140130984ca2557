"""Bodies and parameters that only the ObjectStack client sends."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from objectql.errors import InvalidQuery, QueryParamUnknown
from objectql.service.bodies import decode_json

_SEARCH_KEYS = ("q", "objects", "limit", "perObject")
_MAX_PER_OBJECT = 25
_MAX_HITS = 200


class Lenient(msgspec.Struct, frozen=True, rename="camel"):
    """Base of bodies of the published client: keys of newer versions are ignored."""


class ActionBody(Lenient, frozen=True):
    record_id: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"{}")


class Options(Lenient, frozen=True):
    """How to run many rows. `validateOnly` was retired upstream (it used to write) and is refused."""

    atomic: bool = False
    continue_on_error: bool = False
    return_records: bool = True
    validate_only: bool = False


class Row(Lenient, frozen=True):
    id: str | None = None
    external_id: str | None = None
    data: msgspec.Raw = msgspec.Raw(b"{}")


class BatchBody(Lenient, frozen=True):
    operation: Literal["create", "update", "upsert", "delete"]
    records: list[Row]
    options: Options = Options()


class UpdateManyBody(Lenient, frozen=True):
    records: list[Row]
    options: Options = Options()


class DeleteManyBody(Lenient, frozen=True):
    ids: list[str]
    options: Options = Options()


class CloneBody(Lenient, frozen=True):
    overrides: msgspec.Raw = msgspec.Raw(b"{}")


class SearchParams(msgspec.Struct, frozen=True):
    text: str
    objects: tuple[str, ...] = ()
    limit: int = 20
    per_object: int = 5


def action_body(body: bytes) -> ActionBody:
    """The record and the parameters of an action; both may be absent."""
    return decode_json(body, ActionBody, nesting=64)


def search_params(pairs: list[tuple[str, str]]) -> SearchParams:
    """`q`, `objects` (comma list), `limit` (to 200), `perObject` (to 25).

    Raises:
        QueryParamUnknown: another parameter.
        InvalidQuery: no text, or a number that is none.

    """
    given: dict[str, str] = {}
    for key, value in pairs:
        if key not in _SEARCH_KEYS:
            raise QueryParamUnknown(param=key[:100], suggestions=_SEARCH_KEYS)
        given[key] = value
    if not given.get("q", "").strip():
        raise InvalidQuery(reason="say what to look for", path="q")
    objects = tuple(name.strip() for name in given.get("objects", "").split(",") if name.strip())
    return SearchParams(
        text=given["q"],
        objects=objects,
        limit=_count(given, "limit", 20, _MAX_HITS),
        per_object=_count(given, "perObject", 5, _MAX_PER_OBJECT),
    )


def _count(given: dict[str, str], name: str, default: int, most: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise InvalidQuery(reason=f'"{text[:40]}" is not a number of records', path=name)
    return min(int(text), most)


def without_key(document: dict[str, Any], key: str) -> dict[str, Any]:
    """`document` without `key`."""
    return {name: value for name, value in document.items() if name != key}
