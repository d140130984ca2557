"""One SQLite connection, used from worker threads one call at a time.

A call is a plain function that does all its statements in one go, so that a write costs one trip
to a thread, however many statements it takes.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Final, TypeVar

from objectql.clock import Clock
from objectql.drivers.sql.errors import (
    CANCELLED_STATE,
    REFERENCE_STATE,
    TOO_COMPLEX_STATE,
    UNIQUE_STATE,
    Refusal,
)
from objectql.drivers.sql.formulas_sqlite import add_formula_functions
from objectql.errors import DeadlineExceeded
from objectql.query.search_words import has_word

T = TypeVar("T")

_BUSY_MS: Final = 5000
"""How long to wait for a writer of another process."""

_STATES: Mapping[str, str] = {
    "SQLITE_CONSTRAINT_UNIQUE": UNIQUE_STATE,
    "SQLITE_CONSTRAINT_PRIMARYKEY": UNIQUE_STATE,
    "SQLITE_CONSTRAINT_ROWID": UNIQUE_STATE,
    "SQLITE_CONSTRAINT_FOREIGNKEY": REFERENCE_STATE,
    "SQLITE_CONSTRAINT_NOTNULL": "23502",
    "SQLITE_CONSTRAINT_CHECK": "23514",
    "SQLITE_TOOBIG": "22001",
    "SQLITE_MISMATCH": "22000",
    "SQLITE_INTERRUPT": CANCELLED_STATE,
    "SQLITE_BUSY": "55P03",
    "SQLITE_BUSY_SNAPSHOT": "40001",
    "SQLITE_LOCKED": "55P03",
    "SQLITE_READONLY": "25006",
}
"""SQLite's extended codes as SQLSTATEs."""

_UNAVAILABLE = ("SQLITE_IOERR", "SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_NOMEM")


def refusal_of(exc: sqlite3.Error) -> Refusal:
    """What SQLite said; a unique constraint names its columns in the message."""
    if "parser stack overflow" in str(exc):  # a plain SQLITE_ERROR in all but its words
        return Refusal(TOO_COMPLEX_STATE)
    name = str(getattr(exc, "sqlite_errorname", ""))
    state = _STATES.get(name, "53000" if name.startswith(_UNAVAILABLE) else "")
    if state != UNIQUE_STATE:
        return Refusal(state)
    columns = [column.strip() for column in str(exc).partition(": ")[2].split(",")]
    table = columns[0].partition(".")[0]
    return Refusal(state, table=table, columns=tuple(c.partition(".")[2] for c in columns))


def add_functions(connection: sqlite3.Connection) -> None:
    """Have the functions on `connection` that our statements call and SQLite does not offer."""
    connection.create_function("objectql_has_word", 2, _has_word, deterministic=True)
    add_formula_functions(connection)


def _has_word(value: str | None, term: str | None) -> bool | None:
    return None if value is None or term is None else has_word(value, term)


class SqliteConnection:
    """A connection in autocommit mode; transactions are begun and ended by statements."""

    def __init__(self, path: str, *, is_reader: bool) -> None:
        self._raw = sqlite3.connect(
            path,
            timeout=_BUSY_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        self._raw.execute("PRAGMA journal_mode = WAL")
        self._raw.execute("PRAGMA synchronous = NORMAL")
        self._raw.execute("PRAGMA foreign_keys = ON")
        if is_reader:
            self._raw.execute("PRAGMA query_only = ON")
        add_functions(self._raw)
        self.is_open = True
        self._is_cancelled = False

    def rows(self, text: str, params: Sequence[object] = ()) -> list[Any]:
        """The rows of one statement with `?` parameters.

        Raises:
            DeadlineExceeded: the call this belongs to was cancelled.

        """
        if self._is_cancelled:
            raise DeadlineExceeded
        return self._raw.execute(text, params).fetchall()

    def numbered(self, text: str, params: Sequence[object]) -> list[Any]:
        """The rows of one statement with `$1` parameters."""
        if self._is_cancelled:
            raise DeadlineExceeded
        named = {str(number): value for number, value in enumerate(params, 1)}
        return self._raw.execute(text, named).fetchall()

    def change(self, text: str, params: Sequence[object]) -> int:
        """How many rows one statement with `?` parameters changed."""
        if self._is_cancelled:
            raise DeadlineExceeded
        return self._raw.execute(text, params).rowcount

    def roll_back(self) -> None:
        """End the transaction, if SQLite has not done so itself. Works for cancelled calls too."""
        if self._raw.in_transaction:
            self._raw.execute("ROLLBACK")

    def in_transaction(self, work: Callable[[SqliteConnection], T]) -> T:
        """The result of `work`, committed."""
        self.rows("BEGIN IMMEDIATE")
        try:
            result = work(self)
            self.rows("COMMIT")
        except BaseException:
            self.roll_back()
            raise
        return result

    def close(self) -> None:
        """Release the file."""
        self.is_open = False
        self._raw.close()

    def cancel(self) -> None:
        """Stop the call that runs: its statement is interrupted and no further one begins."""
        self._is_cancelled = True
        self._raw.interrupt()

    async def call(
        self,
        executor: Executor,
        work: Callable[[SqliteConnection], T],
        clock: Clock,
        deadline_ms: int | None,
    ) -> T:
        """The result of `work(self)`, run in a thread until the deadline.

        The connection is the caller's until this returns, also when the caller is cancelled.
        """
        self._is_cancelled = False
        loop = asyncio.get_running_loop()
        timer = None
        if deadline_ms is not None:
            left_ms = deadline_ms - clock.now_ms()
            if left_ms <= 0:
                raise DeadlineExceeded
            timer = loop.call_later(left_ms / 1000, self.cancel)
        future = loop.run_in_executor(executor, work, self)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self.cancel()
            await asyncio.wait([future])
            future.exception()  # it was cancelled: its error is of no interest
            raise
        finally:
            if timer is not None:
                timer.cancel()
