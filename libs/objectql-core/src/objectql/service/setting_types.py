"""What the annotations of a settings struct say of a field."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import Meta


def is_struct(type_: Any) -> bool:
    """Whether `type_` is a group of settings."""
    return isinstance(type_, type) and issubclass(type_, msgspec.Struct)


def bare(type_: Any) -> Any:
    """`type_` without annotations and without `| None`."""
    while get_origin(type_) is Annotated:
        type_ = get_args(type_)[0]
    if get_origin(type_) in (Union, UnionType):
        members = [member for member in get_args(type_) if member is not type(None)]
        if len(members) == 1:
            return bare(members[0])
    return type_


def metas(type_: Any) -> list[Meta]:
    """The annotations on `type_` and on the parts of a union."""
    if get_origin(type_) is Annotated:
        inner, *extras = get_args(type_)
        return [extra for extra in extras if isinstance(extra, Meta)] + metas(inner)
    if get_origin(type_) in (Union, UnionType):
        return [meta for member in get_args(type_) for meta in metas(member)]
    return []


def is_secret(type_: Any) -> bool:
    """Whether values of the field are never printed."""
    return any((meta.extra or {}).get("secret", False) for meta in metas(type_))
