"""What the services of objects and the generic one have in common: methods as codecs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from objectql.errors import InvalidRequest, Issue
from objectql.protobuf.calls import Call, Fields, ListCall, Verb, WatchCall
from objectql.protobuf.messages import MessageCodec
from objectql.protobuf.model import VALUE, Field, Message


class Rpc(NamedTuple):
    """A method: what it does, and what a request of it says."""

    verb: Verb
    read: Callable[[bytes], Call]


def reader(codec: MessageCodec, make: Callable[[dict[str, Any]], Call]) -> Callable[[bytes], Call]:
    """What a request's bytes say, as what `make` makes of its fields."""
    return lambda body: make(codec.read(body))


def missing(path: str) -> InvalidRequest:
    """The error of a request that does not say what it must."""
    issue = Issue(path=path, code="required", message=f'"{path}" is missing')
    return InvalidRequest(reason=issue.message, issues=(issue,))


def read_mask(values: Mapping[str, Any]) -> Fields:
    """The fields of the answer; an empty mask, or `*`, is none."""
    mask = values.get("read_mask")
    return None if not mask or mask == ("*",) else mask


def list_call(object: str, values: dict[str, Any], fields: Fields) -> ListCall:
    """A list of `object`; the names of the fields of a request are the same in all services."""
    return ListCall(
        object,
        filter=values.get("filter", ""),
        order_by=values.get("order_by", ""),
        fields=fields,
        expand=tuple(values.get("expand", ())),
        page_size=values.get("page_size", 0),
        page_token=values.get("page_token", ""),
        count=values.get("count", False),
    )


def watch_call(object: str, values: dict[str, Any], fields: Fields) -> WatchCall:
    """A live query of `object`, likewise."""
    return WatchCall(
        object,
        where=values.get("where"),
        fields=fields,
        snapshot=values.get("snapshot", False),
        since=values.get("since") or None,
    )


_RESULT: Final = MessageCodec(Message("ActionResponse", (Field("result", VALUE, 1),)))


def result_bytes(body: bytes) -> bytes:
    """The answer of any action, from what it returned as JSON; null is not set."""
    return _RESULT.write({"result": msgspec.json.decode(body)})
