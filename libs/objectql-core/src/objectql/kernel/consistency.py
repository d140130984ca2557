"""What a caller is promised across requests: tokens of writes, and how far behind a read may be.

The token of a write names the position of its data source, asked for after the commit, so it lies
at or after the commit's own. A source without replicas is at no position: whoever reads it later,
through whatever kernel, asks the primary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from objectql.context import Context, ReadPolicy
from objectql.drivers.protocol import Driver, Freshness
from objectql.ids import DataSource, TenantId
from objectql.kernel.engine import Engine
from objectql.wire.consistency import ConsistencyToken, parse_token


class Consistency:
    """Makes tokens, and honours them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._fixed = {
            name: ConsistencyToken({name: None}).text
            for name, driver in engine.drivers.items()
            if not driver.capabilities.replicas
        }

    async def token(self, sources: Iterable[DataSource]) -> str:
        """The token of a request that has committed to `sources`.

        It never fails, since the write has happened: where a position cannot be had, the token
        leads to the primary.
        """
        names = sorted(set(sources))
        if len(names) == 1:
            name = names[0]
            fixed = self._fixed.get(name)
            if fixed is not None:
                return fixed
            return ConsistencyToken({name: await self._engine.drivers[name].position()}).text
        positions = await asyncio.gather(*(self._engine.drivers[n].position() for n in names))
        return ConsistencyToken(dict(zip(names, positions, strict=True))).text

    async def token_of_objects(self, objects: Iterable[str], tenant: TenantId) -> str:
        """`token` for the data sources of `objects`, which `tenant` has."""
        model = self._engine.model_of(tenant)
        return await self.token(model.object(name).datasource for name in objects)

    async def token_of_all(self) -> str:
        """`token` for a request of which nobody knows where it wrote."""
        return await self.token(self._engine.drivers)

    def freshness(self, context: Context, driver: Driver) -> Freshness | None:
        """How far behind an answer from `driver` may be; None: not at all.

        Raises:
            InvalidRequest: the token is none.

        """
        settings = self._engine.settings
        policy, max_lag_ms = context.read_policy, context.max_lag_ms
        if policy is None:
            if context.actor.is_system:  # calls in a row see each other without a token
                return None
            policy, max_lag_ms = settings.read_policy, settings.max_lag_ms
        token = context.consistency_token or context.recent_token
        position = 0 if token is None else parse_token(token).positions.get(driver.name, 0)
        if policy.is_primary or position is None:
            return None
        if policy is ReadPolicy.ANY:
            return Freshness(None, position or None, settings.token_wait_ms / 1000)
        return Freshness((max_lag_ms or 0) / 1000, position or None)
