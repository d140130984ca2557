"""`ChainStore` on the tables of the history and the security log.

Sealing fills `sequence` and `hash` of rows that have none; the partial index of those is what the
sealer reads. A unique index keeps two entries from one place in a chain, and the head's row, which
only sealers write, puts sealers in order.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from objectql.drivers.chains import LOGS, Chain, Entry, Head, Log, Seal
from objectql.drivers.sql.system import SystemRunner, SystemWords, add_columns, event_table
from objectql.errors import UniqueViolation, WriteConflict
from objectql.ids import TenantId


class _Table(msgspec.Struct, frozen=True):
    """Where a log is, and its columns: position, id and time of an entry first, then the others."""

    name: str
    columns: tuple[str, ...]

    @property
    def object(self) -> str:
        """What tells the chain beside the tenant."""
        return "object" if "object" in self.columns else "''"


_TABLES: Final[Mapping[Log, _Table]] = MappingProxyType(
    {
        "history": _Table(
            "oql_history",
            (
                *("position", "event_id", "at", "tenant", "object", "record_id", "kind"),
                *("version", "actor", "before", "after", "request_id", "traceparent"),
                *("batch", "batch_size", "origin"),
            ),
        ),
        "security": _Table(
            "oql_security_log",
            (
                *("position", "id", "at", "tenant", "kind", "actor", "origin", "request_id"),
                "details",
            ),
        ),
    }
)

_SEALING: Final = MappingProxyType({"sequence": "bigint", "hash": "text"})

_ADDED: Final = MappingProxyType({"origin": "text NOT NULL DEFAULT ''", **_SEALING})
"""Columns that the history has since entries are chained. Their default serves kernels of before,
which may still write while the cluster is upgraded."""


async def create_audit_tables(runner: SystemRunner, words: SystemWords) -> None:
    """Create what is missing, and add to a history of before what it lacks; any number of times."""
    for statement in _tables(words):
        await runner.run(statement)
    await add_columns(runner, words, "oql_history", _ADDED)
    for statement in _INDEXES:
        await runner.run(statement)


def _tables(words: SystemWords) -> tuple[str, ...]:
    sealing = ", ".join(f"{name} {type_}" for name, type_ in _SEALING.items())
    return (
        f"CREATE TABLE IF NOT EXISTS oql_history ({event_table(words)})",
        f"""CREATE TABLE IF NOT EXISTS oql_security_log (
            position {words.serial}, id text NOT NULL, tenant text NOT NULL, at text NOT NULL,
            kind text NOT NULL, actor text NOT NULL, origin text NOT NULL,
            request_id text NOT NULL, details text NOT NULL, {sealing})""",
        """CREATE TABLE IF NOT EXISTS oql_audit_chains (
            tenant text NOT NULL, log text NOT NULL, object text NOT NULL,
            sequence bigint NOT NULL, hash text NOT NULL,
            purged_sequence bigint NOT NULL, purged_hash text NOT NULL,
            PRIMARY KEY (tenant, log, object))""",
    )


_INDEXES: Final = (
    """CREATE INDEX IF NOT EXISTS oql_history_record
            ON oql_history (tenant, object, record_id, position)""",
    """CREATE UNIQUE INDEX IF NOT EXISTS oql_history_chain
            ON oql_history (tenant, object, sequence) WHERE sequence IS NOT NULL""",
    """CREATE INDEX IF NOT EXISTS oql_history_unsealed ON oql_history (position)
            WHERE sequence IS NULL""",
    """CREATE INDEX IF NOT EXISTS oql_security_log_tenant
            ON oql_security_log (tenant, position)""",
    """CREATE UNIQUE INDEX IF NOT EXISTS oql_security_log_chain
            ON oql_security_log (tenant, sequence) WHERE sequence IS NOT NULL""",
    """CREATE INDEX IF NOT EXISTS oql_security_log_unsealed ON oql_security_log (position)
            WHERE sequence IS NULL""",
)


_CHAINS: Final = """WITH RECURSIVE tracked (object) AS (
    SELECT min(object) FROM oql_history WHERE tenant = $1
    UNION ALL
    SELECT (SELECT min(object) FROM oql_history WHERE tenant = $1 AND object > t.object)
    FROM tracked t WHERE t.object IS NOT NULL)
SELECT log, object FROM oql_audit_chains WHERE tenant = $1
UNION SELECT 'history', object FROM tracked WHERE object IS NOT NULL
UNION SELECT 'security', '' WHERE EXISTS (SELECT 1 FROM oql_security_log WHERE tenant = $1)
ORDER BY 1, 2"""
"""Chains without a head count too, and are found by steps from object to object in the index."""

_HEAD: Final = """INSERT INTO oql_audit_chains AS c
(tenant, log, object, sequence, hash, purged_sequence, purged_hash)
VALUES ($1, $2, $3, CAST($4 AS bigint), $5, CAST($6 AS bigint), $7)
ON CONFLICT (tenant, log, object) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash
WHERE c.sequence = CAST($8 AS bigint) RETURNING 1"""


class SqlChains:
    """See `ChainStore`."""

    def __init__(self, runner: SystemRunner, words: SystemWords) -> None:
        self._runner = runner
        self._words = words

    async def unsealed(
        self, log: Log, limit: int, *, besides: Collection[Chain] = ()
    ) -> tuple[Entry, ...]:
        """See `ChainStore`."""
        table = _TABLES[log]
        left_out = [chain for chain in besides if chain.log == log]
        others = "".join(
            f" AND NOT (tenant = ${2 * n} AND {table.object} = ${2 * n + 1})"
            for n in range(1, len(left_out) + 1)
        )
        rows = await self._runner.read(
            f"""SELECT {", ".join(table.columns)}, sequence, hash FROM {table.name}
            WHERE sequence IS NULL{others} ORDER BY position LIMIT CAST($1 AS bigint)""",
            *(limit, *(part for chain in left_out for part in (chain.tenant, chain.object))),
        )
        return tuple(_entry(log, row) for row in rows)

    async def head(self, chain: Chain) -> Head:
        """See `ChainStore`."""
        rows = await self._runner.read(
            """SELECT sequence, hash, purged_sequence, purged_hash FROM oql_audit_chains
            WHERE tenant = $1 AND log = $2 AND object = $3""",
            *chain,
        )
        return Head(chain, *rows[0]) if rows else Head(chain)

    async def seal(self, seals: Sequence[Seal]) -> None:
        """See `ChainStore`; heads first and in one order, so that sealers wait for each other."""
        try:
            async with self._runner.transaction() as runner:
                for seal in sorted(seals, key=lambda seal: seal.after.chain):
                    await self._move(runner, seal.before, seal.after)
                for log in LOGS:
                    await self._link(runner, log, seals)
        except UniqueViolation as exc:  # the chain holds more than its head tells
            raise WriteConflict from exc

    async def _move(self, runner: SystemRunner, before: Head, after: Head) -> None:
        moved = await runner.run(
            _HEAD,
            *after.chain,
            *(after.sequence, after.hash, after.purged_sequence, after.purged_hash),
            before.sequence,
        )
        if not moved:
            raise WriteConflict

    async def _link(self, runner: SystemRunner, log: Log, seals: Sequence[Seal]) -> None:
        links = [link for seal in seals if seal.after.chain.log == log for link in seal.links]
        if not links:
            return
        done = await runner.run(
            f"""UPDATE {_TABLES[log].name} AS e SET sequence = s.sequence, hash = s.hash
            FROM ({self._words.links}) AS s
            WHERE e.position = s.position AND e.sequence IS NULL RETURNING 1""",
            msgspec.json.encode(links).decode(),
        )
        if len(done) != len(links):
            raise WriteConflict

    async def heads(self, after: Chain | None, limit: int) -> tuple[Head, ...]:
        """See `ChainStore`."""
        rows = await self._runner.read(
            """SELECT tenant, log, object, sequence, hash, purged_sequence, purged_hash
            FROM oql_audit_chains WHERE (tenant, log, object) > ($1, $2, $3)
            ORDER BY tenant, log, object LIMIT CAST($4 AS bigint)""",
            *(after or Chain("", "history")),
            limit,
        )
        return tuple(Head(Chain(*row[:3]), *row[3:]) for row in rows)

    async def purge(self, before: Head, after: Head) -> None:
        """See `ChainStore`."""
        table = _TABLES[after.chain.log]
        async with self._runner.transaction() as runner:
            moved = await runner.run(
                """UPDATE oql_audit_chains SET purged_sequence = CAST($4 AS bigint), purged_hash = $5
                WHERE tenant = $1 AND log = $2 AND object = $3
                AND purged_sequence = CAST($6 AS bigint) RETURNING 1""",
                *after.chain,
                *(after.purged_sequence, after.purged_hash, before.purged_sequence),
            )
            gone = await runner.run(
                f"""DELETE FROM {table.name} WHERE tenant = $1 AND {table.object} = $2
                AND sequence > CAST($3 AS bigint) AND sequence <= CAST($4 AS bigint) RETURNING 1""",
                *(after.chain.tenant, after.chain.object),
                *(before.purged_sequence, after.purged_sequence),
            )
            if not moved or len(gone) != after.purged_sequence - before.purged_sequence:
                raise WriteConflict

    async def chains(self, tenant: TenantId) -> tuple[Chain, ...]:
        """See `ChainStore`."""
        rows = await self._runner.read(_CHAINS, tenant)
        return tuple(Chain(tenant, row[0], row[1]) for row in rows)

    async def sealed(self, chain: Chain, after: tuple[int, int], limit: int) -> tuple[Entry, ...]:
        """See `ChainStore`."""
        table = _TABLES[chain.log]
        rows = await self._runner.read(
            f"""SELECT {", ".join(table.columns)}, sequence, hash FROM {table.name}
            WHERE tenant = $1 AND {table.object} = $2 AND sequence IS NOT NULL
            AND (sequence, position) > (CAST($3 AS bigint), CAST($4 AS bigint))
            ORDER BY sequence, position LIMIT CAST($5 AS bigint)""",
            *(chain.tenant, chain.object, *after, limit),
        )
        return tuple(_entry(chain.log, row) for row in rows)

    async def count_unsealed(self, chain: Chain) -> int:
        """See `ChainStore`."""
        table = _TABLES[chain.log]
        rows = await self._runner.read(
            f"""SELECT count(*) FROM {table.name}
            WHERE sequence IS NULL AND tenant = $1 AND {table.object} = $2""",
            *(chain.tenant, chain.object),
        )
        return int(rows[0][0])


def _entry(log: Log, row: Sequence[Any]) -> Entry:
    names = _TABLES[log].columns
    content = tuple(row[: len(names)])
    at = dict(zip(names, content, strict=True))
    chain = Chain(at["tenant"], log, at.get("object", ""))
    return Entry(chain, row[0], row[1], row[2], content, *row[len(names) :])
