"""Statements on one Postgres connection: deadlines kept, errors translated, nothing else.

A read whose deadline passes is cancelled by asyncpg and its connection given up. A write is not
abandoned that way, since its answer tells whether it happened: at the deadline the server is asked
to cancel, and what it then says decides. Only when it says nothing is the outcome unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple, TypeVar

import asyncpg  # noqa: TID251 - this package is the home of the database drivers

from objectql.clock import Clock
from objectql.drivers.sql.errors import ConstraintNames, Doing, Refusal, translate
from objectql.drivers.sql.postgres_walls import SHOW, TenantConnection, shown_to
from objectql.errors import DeadlineExceeded, ObjectQLError, OutcomeUnknown, Unavailable
from objectql.metadata.model import ObjectDef

T = TypeVar("T")

CANCEL_GRACE_S: Final = 2.0
"""How long the server may take to answer after a cancellation before the connection is dropped."""

_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the server has said goodbye, and the socket is still open
)


class Target(NamedTuple):
    """What a statement is about, for its errors."""

    doing: Doing = "read"
    object: ObjectDef | None = None
    id: str = ""


READ: Final = Target()


def is_lost(exc: BaseException) -> bool:
    """Whether the connection broke, rather than the statement."""
    return isinstance(exc, _LOST)


def is_server_failure(exc: BaseException) -> bool:
    """Whether the server refused, said nothing in time or was lost, rather than we erred."""
    return isinstance(exc, TimeoutError | asyncpg.PostgresError) or is_lost(exc)


def is_forbidden(exc: BaseException | None) -> bool:
    """Whether the server refused because the user lacks a right."""
    return isinstance(exc, asyncpg.InsufficientPrivilegeError)


def is_unknown_name(exc: BaseException | None) -> bool:
    """Whether the server knows nothing of what the statement names."""
    return isinstance(exc, asyncpg.UndefinedObjectError)


def is_busy(exc: BaseException | None) -> bool:
    """Whether somebody else is at what the statement names."""
    return isinstance(exc, asyncpg.ObjectNotInPrerequisiteStateError)


def was_never_sent(exc: BaseException) -> bool:
    """Whether the connection was known to be closed before the statement went out."""
    return isinstance(exc, asyncpg.InterfaceError)


def refusal_of(exc: asyncpg.PostgresError) -> Refusal:
    """What the server said."""
    return Refusal(
        state=str(exc.sqlstate or ""),
        constraint=str(getattr(exc, "constraint_name", None) or ""),
        table=str(getattr(exc, "table_name", None) or ""),
        column=str(getattr(exc, "column_name", None) or ""),
    )


class Deadline(NamedTuple):
    """An absolute deadline (Unix ms), or none, and the clock that it is measured by."""

    clock: Clock
    at_ms: int | None

    def left_s(self) -> float | None:
        """Seconds left; None when there is no deadline.

        Raises:
            DeadlineExceeded: none.

        """
        if self.at_ms is None:
            return None
        left_ms = self.at_ms - self.clock.now_ms()
        if left_ms <= 0:
            raise DeadlineExceeded
        return left_ms / 1000


class PostgresCalls:
    """The calls that a driver and its sessions share; `cancel` ends a statement by its server pid."""

    def __init__(
        self, names: ConstraintNames, clock: Clock, cancel: Callable[[int], Awaitable[None]]
    ) -> None:
        self.names = names
        self.clock = clock
        self._cancel = cancel

    def error(self, exc: Exception, target: Target) -> ObjectQLError:
        """The error of the port for whatever a statement raised that is sure not to be done."""
        if isinstance(exc, ObjectQLError):
            return exc
        if isinstance(exc, TimeoutError):
            return DeadlineExceeded()
        if is_lost(exc):
            return Unavailable(what="the database")
        if isinstance(exc, asyncpg.PostgresError):
            return translate(
                refusal_of(exc),
                self.names,
                doing=target.doing,
                object_=target.object,
                id_=target.id,
            )
        raise exc

    async def rows(
        self,
        connection: asyncpg.Connection,
        text: str,
        args: Sequence[object],
        deadline: Deadline,
        target: Target = READ,
    ) -> Sequence[Sequence[Any]]:
        """All rows of a statement that is part of a transaction, or of a read."""
        try:
            return await connection.fetch(text, *args, timeout=deadline.left_s())
        except Exception as exc:
            raise self.error(exc, target) from exc

    async def rows_of(
        self,
        connection: TenantConnection,
        tenant: str | None,
        text: str,
        args: Sequence[object],
        deadline: Deadline,
    ) -> Sequence[Sequence[Any]]:
        """`rows` of a read outside transactions that is shown the rows of `tenant`; None: it need not."""
        if tenant is not None and not text.startswith("EXPLAIN"):  # that reads nothing
            text, args = shown_to(text, len(args) + 1), (*args, tenant)
        return await self.rows(connection, text, args, deadline)

    async def show(
        self, connection: TenantConnection, tenant: str | None, deadline: Deadline
    ) -> None:
        """Let the connection show the rows of `tenant`; None says that it need not."""
        if tenant is None or connection.tenant == tenant:
            return
        connection.tenant = ""  # until it is known to have come through
        await self.rows(connection, SHOW, (tenant,), deadline)
        connection.tenant = tenant

    async def commit_rows(
        self,
        connection: asyncpg.Connection,
        text: str,
        args: Sequence[object],
        deadline: Deadline,
        target: Target,
    ) -> Sequence[Sequence[Any]]:
        """All rows of a statement that commits: a write outside a transaction, or `COMMIT`.

        Raises:
            DeadlineExceeded: cancelled, nothing was written.
            Unavailable: it was never sent, or the server says that it was not done.
            OutcomeUnknown: sent, and the connection was lost before the answer.

        """
        return await self._commit(connection, connection.fetch(text, *args), deadline, target)

    async def commit_text(
        self, connection: asyncpg.Connection, text: str, deadline: Deadline
    ) -> None:
        """`commit_rows` of a statement that has neither rows nor parameters and is like no other.

        It is not kept as a prepared statement.
        """
        await self._commit(connection, connection.execute(text), deadline, READ)

    async def _commit(
        self,
        connection: asyncpg.Connection,
        sending: Coroutine[Any, Any, T],
        deadline: Deadline,
        target: Target,
    ) -> T:
        try:
            left_s = deadline.left_s()
        except DeadlineExceeded:
            sending.close()
            raise
        guard = _Guard(connection, self._cancel)
        loop = asyncio.get_running_loop()
        timer = None if left_s is None else loop.call_later(left_s, guard.start)
        try:
            return await sending
        except Exception as exc:
            if is_lost(exc) and not was_never_sent(exc):
                raise OutcomeUnknown from exc
            raise self.error(exc, target) from exc
        finally:
            if timer is not None:
                timer.cancel()
            if guard.task is not None:
                await guard.finish()


class _Guard:
    """Cancels the statement of a connection; drops the connection if that does not help."""

    def __init__(
        self, connection: asyncpg.Connection, cancel: Callable[[int], Awaitable[None]]
    ) -> None:
        self._connection = connection
        self._cancel = cancel
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(CANCEL_GRACE_S):
                await self._cancel(self._connection.get_server_pid())
                await asyncio.Event().wait()  # until the statement ends and this task with it
        except TimeoutError:
            self._connection.terminate()

    async def finish(self) -> None:
        """The connection may still be hit by the cancellation, so it is not used again."""
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait([self.task])
        self._connection.terminate()
