"""What a hook is given: the operation, the caller and the data, some of it to change."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn, Protocol, cast

from objectql.context import Actor
from objectql.ids import TenantId


class Api(Protocol):
    """Data operations as the same caller, in the same transaction and tenant."""

    async def find(
        self, object: str, query: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]: ...
    async def find_one(
        self, object: str, query: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None: ...
    async def get(self, object: str, id: str) -> dict[str, Any] | None: ...
    async def count(self, object: str, query: Mapping[str, Any] | None = None) -> int: ...
    async def create(self, object: str, data: Mapping[str, Any]) -> dict[str, Any]: ...
    async def update(self, object: str, id: str, data: Mapping[str, Any]) -> dict[str, Any]: ...
    async def delete(self, object: str, id: str) -> bool: ...


class HookAbort(Exception):  # noqa: N818 - the name that hook authors know
    """Raise it in a hook or action to refuse the operation with a message for the caller.

    `code` is the hook's own, `http` the status that the caller gets (400 to 499).
    """

    def __init__(self, message: str, *, code: str = "", http: int = 400) -> None:
        if not 400 <= http < 500:  # noqa: PLR2004 - the range of the caller's errors
            raise ValueError("a refusal has a status from 400 to 499")
        super().__init__(message)
        self.reason = message
        self.code = code
        self.http = http


class _NoApi:
    """Where data operations are not to be had: after the commit, and outside a kernel."""

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(f"ctx.api.{name}: there are no data operations at this point")


class HookContext:
    """One call of an operation, seen by its hooks.

    `data` (before-hooks of create and update), `query` (before-hooks of reads) and `result`
    (after-hooks) may be changed or assigned. `previous_data` is the stored record of an update or
    delete. `state` is shared by all hooks of this call. `transaction` is set inside a transaction.
    `data` is empty for other operations. `now` is the instant that stamps everything this request writes.
    """

    __slots__ = (
        "api",
        "data",
        "id",
        "now",
        "object_name",
        "operation",
        "previous_data",
        "query",
        "request_id",
        "result",
        "state",
        "stop_propagation",
        "trace",
        "transaction",
        "user",
    )

    def __init__(
        self,
        object_name: str,
        operation: str,
        user: Actor,
        *,
        api: Api | None = None,
        id: str | None = None,
        data: dict[str, Any] | None = None,
        previous_data: dict[str, Any] | None = None,
        query: dict[str, Any] | None = None,
        request_id: str = "",
        now: str = "",
        trace: Mapping[str, str] | None = None,
        transaction: object = None,
    ) -> None:
        self.object_name = object_name
        self.operation = operation
        self.user = user
        self.api: Api = api or cast("Api", _NoApi())
        self.id = id
        self.data: dict[str, Any] = {} if data is None else data
        self.previous_data = previous_data
        self.query = query
        self.request_id = request_id
        self.now = now
        self.trace = trace or {}
        self.transaction = transaction
        self.result: Any = None
        self.state: dict[str, Any] = {}
        self.stop_propagation = False

    def end_api(self) -> None:
        """No data operations from now on: the transaction is over."""
        self.api = cast("Api", _NoApi())

    @property
    def tenant_id(self) -> TenantId:
        """The caller's tenant."""
        return self.user.tenant

    @property
    def is_system(self) -> bool:
        """Whether the system itself is the caller."""
        return self.user.is_system

    @property
    def new(self) -> dict[str, Any]:
        """`data` by its other name."""
        return self.data

    @property
    def old(self) -> dict[str, Any] | None:
        """`previous_data` by its other name."""
        return self.previous_data

    def is_modified(self, field: str) -> bool:
        """Whether the call gives `field` a value that differs from the stored one."""
        if field not in self.data:
            return False
        return self.previous_data is None or self.data[field] != self.previous_data.get(field)

    def abort(self, message: str, *, code: str = "", http: int = 400) -> NoReturn:
        """Refuse the operation.

        Raises:
            HookAbort: always.

        """
        raise HookAbort(message, code=code, http=http)


_VIEWED = frozenset({"data", "previous_data", "query", "result"})


class ReadOnlyContext:
    """A hook context that parallel hooks share: everything may be read, nothing assigned.

    Records and queries are shown as read-only mappings and tuples. `state` stays shared.
    """

    __slots__ = ("_context", "_views")

    def __init__(self, context: HookContext) -> None:
        object.__setattr__(self, "_context", context)
        object.__setattr__(
            self, "_views", {name: read_only(getattr(context, name)) for name in _VIEWED}
        )

    def __getattr__(self, name: str) -> Any:
        views = cast("dict[str, Any]", object.__getattribute__(self, "_views"))
        name = {"new": "data", "old": "previous_data"}.get(name, name)
        if name in views:
            return views[name]
        return getattr(object.__getattribute__(self, "_context"), name)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise TypeError(f"a parallel hook may not assign {name}")


def read_only(value: Any) -> Any:
    """`value` with every mapping and list in it replaced by one that refuses changes."""
    if isinstance(value, dict):
        mapping = cast("dict[str, Any]", value)
        return MappingProxyType({key: read_only(item) for key, item in mapping.items()})
    if isinstance(value, list):
        return tuple(read_only(item) for item in cast("list[Any]", value))
    return value
