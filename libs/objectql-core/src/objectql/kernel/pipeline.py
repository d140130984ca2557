"""The fixed order around every operation: running? → deadline → tenant → observers → middleware → core.

Permission and hooks are part of the core (they need the bound object). Where no middleware and no
observer is registered, an operation costs one dictionary look-up here.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Generator
from typing import Final, Protocol, TypeAlias, TypeVar, cast

import msgspec

from objectql.clock import Clock
from objectql.context import Context
from objectql.errors import DeadlineExceeded, KernelNotStarted, ObjectQLError, PermissionDenied
from objectql.ids import TenantId
from objectql.plugins.middleware import MiddlewareRegistry, OperationContext

Q = TypeVar("Q")
R = TypeVar("R")


HOLD_S: Final = 1.0
"""How long operations wait for newer metadata to be taken over; then the older one will do."""


class OperationRecord(msgspec.Struct, frozen=True):
    """How one operation went. `code` is empty for a success, else the error's code."""

    operation: str
    object: str
    duration_s: float
    code: str
    request_id: str
    trace: dict[str, str]
    tenant: TenantId


Observer: TypeAlias = Callable[[OperationRecord], None]

Denied: TypeAlias = Callable[[str, str, Context], None]
"""Told which operation on which object its caller may not do."""


def _tell_nobody(operation: str, object_name: str, context: Context) -> None:
    """Where there is no security log."""


class Admission(Protocol):
    """Which tenants may act; see `tenancy.directory`."""

    def count(self, tenant: TenantId, /) -> None: ...
    def is_active(self, tenant: TenantId) -> bool: ...
    async def admit(self, tenant: TenantId) -> None: ...
    async def spend(self, tenant: TenantId) -> None: ...


Offered: TypeAlias = Callable[[str, str, Context], None]
"""Raises where the object does not offer the operation to clients."""


def _offer_all(operation: str, object_name: str, context: Context) -> None:
    """Where there is no metadata."""


AUTH: Final = "auth"
"""The operation of whoever proves who they are. Until then nobody uses up what a tenant has."""

TENANTS: Final = "tenants"
"""The operation of tenant administration, which no tenant's state keeps from running."""


class Pipeline:
    """Runs operations; refuses them outside start and stop and counts those in flight."""

    def __init__(
        self,
        middleware: MiddlewareRegistry,
        clock: Clock,
        admission: Admission,
        denied: Denied = _tell_nobody,
        offered: Offered = _offer_all,
    ) -> None:
        self._middleware = middleware
        self._admission = admission
        self._denied = denied
        self._offered = offered
        self._clock = clock
        self._observers: tuple[Observer, ...] = ()
        self._is_open = False
        self._in_flight = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._holds = 0
        self._is_free = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """How many operations are running."""
        return self._in_flight

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Tell `observer` of every finished operation; the answer ends that."""
        self._observers = (*self._observers, observer)

        def remove() -> None:
            self._observers = tuple(o for o in self._observers if o is not observer)

        return remove

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Let operations that begin meanwhile wait, for `HOLD_S` at most."""
        self._holds += 1
        self._is_free.clear()
        try:
            yield
        finally:
            self._holds -= 1
            if self._holds == 0:
                self._is_free.set()

    def open(self) -> None:
        """Let operations in."""
        self._is_open = True

    async def close(self, timeout_s: float) -> bool:
        """Let none in any more and wait for those in flight; whether they all ended in time."""
        self._is_open = False
        try:
            async with asyncio.timeout(timeout_s):
                await self._is_idle.wait()
        except TimeoutError:
            return False
        return True

    async def admit(self, tenant: TenantId) -> None:
        """Return if `tenant` may act; for requests that name their tenant elsewhere than the actor.

        Raises:
            TenantRefused: it may not.

        """
        if not self._admission.is_active(tenant):
            await self._admission.admit(tenant)

    async def run(
        self,
        operation: str,
        object_name: str,
        request: Q,
        context: Context,
        core: Callable[[Q, Context], Awaitable[R]],
    ) -> R:
        """The answer of `core`, or of a middleware in its place.

        Raises:
            KernelNotStarted, DeadlineExceeded, TenantRefused, QuotaExceeded: before anything was done.

        """
        if not self._is_open:
            raise KernelNotStarted
        if self._holds:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HOLD_S):
                    await self._is_free.wait()
        if context.deadline_ms <= self._clock.now_ms():
            raise DeadlineExceeded
        tenant = context.actor.tenant
        if operation != AUTH:
            self._admission.count(tenant)
        if not self._admission.is_active(tenant) and operation != TENANTS:
            await self._admission.admit(tenant)
            if operation != AUTH:
                await self._admission.spend(tenant)
        onion = self._middleware.onion(object_name, operation)
        self._in_flight += 1
        self._is_idle.clear()
        started = self._clock.monotonic_s() if self._observers else 0.0
        code = "CANCELLED"
        try:
            self._offered(operation, object_name, context)
            if onion is None:
                answer = await core(request, context)
            else:
                ctx = OperationContext(object_name, operation, request, context)

                async def inner(ctx: OperationContext) -> R:
                    return await core(cast("Q", ctx.request), ctx.context)

                answer = cast("R", await onion.run(ctx, inner))
            code = ""
            return answer
        except ObjectQLError as exc:
            code = exc.code
            if isinstance(exc, PermissionDenied):
                self._denied(operation, object_name, context)
            raise
        except Exception:
            code = "INTERNAL_ERROR"
            raise
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:
                self._is_idle.set()
            if self._observers:
                self._tell(operation, object_name, started, code, context)

    def _tell(
        self, operation: str, object_name: str, started: float, code: str, context: Context
    ) -> None:
        record = OperationRecord(
            operation=operation,
            object=object_name,
            duration_s=self._clock.monotonic_s() - started,
            code=code,
            request_id=context.request_id,
            trace=context.trace,
            tenant=context.tenant,
        )
        for observer in self._observers:
            observer(record)
