"""The store in Redis.

Keys hold the server's `run_id`, so that nothing of an earlier life of the server is ever read: a
snapshot that is loaded again, or a replica that takes over without the last changes, would bring
back tags that had been forgotten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from objectql.kernel.result_cache.store import new_token
from objectql.redis.connection import RedisConnection, RedisFailed
from objectql.redis.link import RedisLink

TAG_LIFE_MS = 3_600_000
"""Much longer than entries live; a tag that is gone costs a miss."""

FORGET_AT_ONCE = 1000


class RedisStore:
    """See `ResultStore`. `run` keeps it connected."""

    def __init__(self, url: str, *, namespace: str = "objectql", timeout_s: float = 0.05) -> None:
        """Only kernels of one cluster may share a namespace.

        Raises:
            ValueError: `url` is not one of Redis.

        """
        self._link = RedisLink(url, timeout_s=timeout_s, user="cache", on_connect=self._name_keys)
        self._namespace = namespace
        self._prefix = ""
        self._to_forget: dict[str, None] = {}
        self._forgetting: asyncio.Task[bool] | None = None

    @property
    def _connection(self) -> RedisConnection | None:
        return self._link.connection

    @property
    def connects(self) -> int:
        """How often the server was reached."""
        return self._link.connects

    @property
    def is_available(self) -> bool:
        """See `ResultStore`."""
        return self._connection is not None

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        await self._link.run()

    def _name_keys(self, connection: RedisConnection) -> None:
        self._prefix = f"oql:{self._namespace}:{connection.run_id}:"

    async def look(self, names: Sequence[str]) -> Sequence[bytes | None] | None:
        """See `ResultStore`."""
        connection, prefix = self._connection, self._prefix
        if connection is None:
            return None
        try:
            return await connection.send("MGET", *[prefix + name for name in names])
        except RedisFailed:
            return None

    async def claim(self, tags: Sequence[str]) -> Sequence[bytes | None] | None:
        """See `ResultStore`."""
        connection, prefix = self._connection, self._prefix
        if connection is None:
            return None
        keys = [prefix + tag for tag in tags]
        for key in keys:
            connection.tell("SET", key, new_token(), "NX", "PX", TAG_LIFE_MS)
        try:
            return await connection.send("MGET", *keys)
        except RedisFailed:
            return None

    def keep(self, name: str, value: bytes, ttl_ms: int) -> None:
        """See `ResultStore`."""
        if self._connection is not None:
            self._connection.tell("SET", self._prefix + name, value, "PX", ttl_ms)

    async def forget(self, tags: Sequence[str]) -> bool:
        """See `ResultStore`."""
        if self._forgetting is None:
            self._forgetting = asyncio.ensure_future(self._forget_gathered())
        self._to_forget.update(dict.fromkeys(tags))
        return await asyncio.shield(self._forgetting)  # others wait for it too

    async def _forget_gathered(self) -> bool:
        """Forget what was asked for in one turn of the loop, as the writers of a group ask."""
        tags, self._to_forget, self._forgetting = [*self._to_forget], {}, None
        connection, prefix = self._connection, self._prefix
        if connection is None:
            return False
        keys = [prefix + tag for tag in tags]
        parts = [keys[at : at + FORGET_AT_ONCE] for at in range(0, len(keys), FORGET_AT_ONCE)]
        try:
            await connection.ask(*(("UNLINK", *part) for part in parts))
        except RedisFailed:
            return False
        return True

    async def close(self) -> None:
        """See `ResultStore`."""
        self._link.close()
