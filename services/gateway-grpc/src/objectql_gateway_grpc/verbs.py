"""What the methods of all services do, by their verbs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple, NoReturn

from objectql.errors import NotSupported
from objectql_gateway_grpc import asking, streams


class Verb(NamedTuple):
    """`work` is given the request, the call (an iterator where it `takes_many`) and the codec.

    It returns the answer, or sends several by itself and returns None.
    """

    work: Callable[..., Awaitable[bytes | None]]
    takes_many: bool = False
    sends_many: bool = False


async def refuse_live(*_: object) -> NoReturn:
    """Live queries are served by the WebSocket gateway only.

    Raises:
        NotSupported: always.

    """
    raise NotSupported(feature="a live query over gRPC (the WebSocket gateway has them)")


VERBS: Final[Mapping[str, Verb]] = {
    "get": Verb(asking.get),
    "list": Verb(asking.list_page),
    "create": Verb(asking.create),
    "update": Verb(asking.update),
    "delete": Verb(asking.delete),
    "aggregate": Verb(asking.aggregate),
    "batch": Verb(asking.batch),
    "action": Verb(asking.action),
    "transaction": Verb(asking.transaction),
    "query": Verb(streams.query, sends_many=True),
    "export": Verb(streams.export, sends_many=True),
    "bulk": Verb(streams.bulk, takes_many=True),
    "watch": Verb(refuse_live, sends_many=True),
    "session": Verb(refuse_live, takes_many=True, sends_many=True),
}
