"""The marks of transactions in `oql_transactions`, and Postgres's prepared transactions.

Source: PostgreSQL, "PREPARE TRANSACTION": names are known to a whole server, at most 200 bytes
long, and a part is ended from the database in which it was prepared.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from objectql.drivers.sql.fragment import string_literal
from objectql.drivers.sql.scope import table_name
from objectql.drivers.sql.system import SystemRunner, SystemWords
from objectql.drivers.transactions import MARKS_DAYS, Mark
from objectql.errors import SourceCannotPrepare, TransactionUnavailable
from objectql.ids import MAX_NAME
from objectql.metadata.model import ObjectDef
from objectql.txn.names import Outcome

MAX_NAME_BYTES: Final = 200
_SEPARATOR: Final = ":"
"""Of the parts of a name (`objectql.txn.names`)."""

PREPARED: Final = """SELECT gid FROM pg_prepared_xacts
WHERE database = current_database() OR starts_with(database, current_database() || '~')
ORDER BY prepared"""
"""Of this database and of those beside it that are places of tenants."""

EXPECT_PREPARE: Final = """SELECT set_config('lock_timeout', $1, true),
(SELECT count(*) FROM pg_prepared_xacts), CAST(current_setting('max_prepared_transactions') AS integer)"""
"""One round trip: the limit on waiting for locks, how many parts the server keeps, and at most."""

_FULL_SHARE: Final = 0.75
"""Of what a server can keep: the rest is for those who looked at the same moment."""

WRITING: Final = """WITH locks AS MATERIALIZED (SELECT * FROM pg_locks WHERE pid IS NULL)
SELECT DISTINCT p.gid FROM pg_prepared_xacts p
JOIN locks own ON own.locktype = 'transactionid' AND own.transactionid = p.transaction
JOIN locks l ON l.virtualtransaction = own.virtualtransaction
WHERE p.database = current_database() AND l.locktype = 'relation' AND l.mode = 'RowExclusiveLock'
AND l.relation IN (SELECT to_regclass(quote_ident(t)) FROM unnest(CAST($1 AS text[])) AS t)"""
"""The prepared transactions that have written to any of some tables.

Source: PostgreSQL, "pg_locks" (no process holds what a prepared transaction does) and "Explicit
Locking" (who changes rows of a table holds ROW EXCLUSIVE on it). They are found by the lock that each
holds on its own id: the virtual id is that of the session that has prepared it, or -1 after a restart."""

_MAX_PREPARED: Final = "SELECT CAST(current_setting('max_prepared_transactions') AS integer)"
_FINISH: Final[dict[Outcome, str]] = {"commit": "COMMIT PREPARED", "abort": "ROLLBACK PREPARED"}


async def leave_mark(runner: SystemRunner, mark: Mark) -> None:
    """Write `mark` as a row of the transaction."""
    await runner.run(
        "INSERT INTO oql_transactions (id, tenant, document) VALUES ($1, $2, $3)",
        *(mark.id, mark.tenant, msgspec.msgpack.encode(mark)),
    )


def check_room(count: int, most: int) -> None:
    """Return when a server that keeps `count` of at most `most` prepared parts can take more.

    Raises:
        TransactionUnavailable: it is nearly full, as it may be while nobody decides.

    """
    if most and count >= most * _FULL_SHARE:
        reason = f"a data source keeps {count} of at most {most} prepared parts"
        raise TransactionUnavailable(reason=reason)


def prepare_text(name: str) -> str:
    """The statement that prepares a transaction; it takes no parameters.

    Raises:
        ValueError: the name is too long for the server.

    """
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"{name} has more than {MAX_NAME_BYTES} bytes")
    return f"PREPARE TRANSACTION {string_literal(name)}"


def finish_text(name: str, outcome: Outcome) -> str:
    """The statement that ends a prepared transaction."""
    return f"{_FINISH[outcome]} {string_literal(name)}"


def purge_marks_text(words: SystemWords) -> str:
    """The statement that deletes marks nobody can ask for any more."""
    age = " - ".join([words.now, *[words.day] * MARKS_DAYS])
    return f"DELETE FROM oql_transactions WHERE created_at <= {age}"  # noqa: S608 - it is ours


class SqlTransactions:
    """`Transactions` of a source that keeps marks and prepares nothing: SQLite."""

    def __init__(self, runner: SystemRunner, name: str) -> None:
        self._runner = runner
        self._name = name

    async def check_ready(self) -> None:
        """See `Transactions`."""
        raise SourceCannotPrepare(source=self._name, reason="SQLite prepares no transactions")

    async def find(self, id: str) -> Mark | None:
        """See `Transactions`."""
        rows = await self._runner.read("SELECT document FROM oql_transactions WHERE id = $1", id)
        return msgspec.msgpack.decode(bytes(rows[0][0]), type=Mark) if rows else None

    async def prepared(self) -> tuple[str, ...]:
        """See `Transactions`."""
        return ()

    async def writing(self, objects: Sequence[ObjectDef]) -> tuple[str, ...]:
        """See `Transactions`."""
        del objects
        return ()

    async def finish(self, name: str, outcome: Outcome) -> bool:
        """See `Transactions`."""
        del name, outcome
        return False


class PostgresTransactions(SqlTransactions):
    """`Transactions` of a Postgres database; `end` runs `finish_text`, False where there is none."""

    def __init__(
        self,
        runner: SystemRunner,
        name: str,
        end: Callable[[str], Awaitable[bool]],
        *,
        is_listed: bool,
    ) -> None:
        """`is_listed` says that whoever lists the source's parts sees those of this database."""
        super().__init__(runner, name)
        self._end = end
        self._is_listed = is_listed
        self._is_ready = False

    async def check_ready(self) -> None:
        """See `Transactions`; a server that was found ready stays so until it is restarted."""
        if self._is_ready:
            return
        if not self._is_listed:
            reason = "the tenant's database is on a server of its own"
            raise SourceCannotPrepare(source=self._name, reason=reason)
        if _SEPARATOR in self._name or len(self._name) > MAX_NAME:
            reason = f"its name has more than {MAX_NAME} characters, or a colon in it"
            raise SourceCannotPrepare(source=self._name, reason=reason)
        if not int((await self._runner.read(_MAX_PREPARED))[0][0]):
            reason = (
                "set max_prepared_transactions of its server to about max_connections, and restart"
            )
            raise SourceCannotPrepare(source=self._name, reason=reason)
        self._is_ready = True

    async def prepared(self) -> tuple[str, ...]:
        """See `Transactions`."""
        return tuple(str(row[0]) for row in await self._runner.read(PREPARED))

    async def writing(self, objects: Sequence[ObjectDef]) -> tuple[str, ...]:
        """See `Transactions`."""
        tables = [table_name(object_) for object_ in objects]
        return tuple(str(row[0]) for row in await self._runner.read(WRITING, tables))

    async def finish(self, name: str, outcome: Outcome) -> bool:
        """See `Transactions`."""
        return await self._end(finish_text(name, outcome))
