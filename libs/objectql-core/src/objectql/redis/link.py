"""A connection to Redis that comes back by itself."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from objectql.redis.connection import RedisAddress, RedisConnection, RedisFailed

log = logging.getLogger(__name__)

RECONNECT_S: Final = 0.25
"""How long a server that was late or away is left alone."""


class RedisLink:
    """Holds a connection while there is one. `run` keeps it so."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        user: str,
        on_connect: Callable[[RedisConnection], None] = lambda _: None,
    ) -> None:
        """`user` is what the connection is for, as `cache`: the beginning of what is logged.

        Raises:
            ValueError: `url` is not one of Redis.

        """
        self._address = RedisAddress.of(url)
        self._timeout_s = timeout_s
        self._user = user
        self._on_connect = on_connect
        self.connection: RedisConnection | None = None
        self.connects = 0

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        was_told = False
        try:
            while True:
                try:
                    connection = await RedisConnection.open(self._address, self._timeout_s)
                except RedisFailed as exc:
                    if not was_told:
                        log.warning(f"{self._user}_unreachable", extra={"reason": str(exc)})  # noqa: G004 - a fixed word
                    was_told = True
                else:
                    self._on_connect(connection)
                    self.connection = connection
                    self.connects += 1
                    log.info(f"{self._user}_connected")  # noqa: G004 - a fixed word
                    was_told = False
                    await connection.closed.wait()
                    self.connection = None
                    log.warning(f"{self._user}_disconnected", extra={"reason": connection.reason})  # noqa: G004 - a fixed word
                await asyncio.sleep(RECONNECT_S * (0.5 + random.random() / 2))  # noqa: S311
        finally:
            self.close()

    def close(self) -> None:
        """Disconnect; `run` connects again."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None
