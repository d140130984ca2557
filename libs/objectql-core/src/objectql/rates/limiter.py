"""Rates that hold over all processes of a cluster, although hardly any request asks the others.

The bucket of a name is in Redis, by the clock of Redis. Each process has an image of it, takes
tokens from the image, and tells Redis how many they were: after `SETTLE_S`, or when they are half
of what it may take in advance. That is what the rate brings in `ADVANCE_S`; beyond it, and always
where that is less than one token, it asks Redis for every token and waits for the answer.

So in any time w all processes together give out at most `burst + per_s * (w + processes *
ADVANCE_S)` tokens, and exactly `burst + per_s * w` of those that are asked for one by one. Nothing
is lost to a caller: tokens are charged once they are given out, never before.

While Redis is away each process goes by its own share of the rate; what it gives out then is never
charged. A Redis that has lost its buckets starts with full ones.
"""

from __future__ import annotations

import asyncio
from functools import partial
from hashlib import sha1
from typing import Final, TypeAlias

from objectql.clock import Clock
from objectql.rates.bucket import Bucket, Rate
from objectql.redis.connection import RedisConnection, RedisFailed
from objectql.redis.link import RedisLink

Name: TypeAlias = tuple[str, ...]
"""What a bucket is for, as `("tenant", "acme")`. Only its last part may hold a colon."""

ADVANCE_S: Final = 0.1
SETTLE_S: Final = 1.0

KEPT: Final = 10_000
"""Names remembered before those with nothing to remember are dropped."""

_SCRIPT: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local each, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + tonumber(ARGV[3]) * each
local taken = 0
if ARGV[4] == '1' then
  taken = math.floor(full + each - now)
  if taken <= window then full = full + each end
end
if full > now then
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
return {string.format('%.0f', taken), string.format('%.0f', full - now)}
"""
"""Charge ARGV[3] tokens, and give another where one is wanted and there; all in microseconds.

The answers are those of `Bucket.take` and `Bucket.full_in_s`. A script is one step for Redis:
nobody comes between."""

_SCRIPT_SHA: Final = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class _Name:
    """What this process knows of one name."""

    __slots__ = ("advance", "image", "key", "part", "rate", "told", "untold")

    rate: Rate
    part: Rate
    """This process's own, while Redis is away."""
    advance: int
    """So many tokens may be given out that Redis has not confirmed."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.image = Bucket()
        self.untold = 0
        """Tokens given out that Redis has not been told of."""
        self.told = 0
        """Tokens that it has been told of and has not confirmed."""

    def change(self, rate: Rate, share: float) -> None:
        """Go by `rate` from now on."""
        self.rate = rate
        self.part = rate.part(share)
        self.advance = int(rate.per_s * ADVANCE_S)


class Limiter:
    """See the head of this module. Without a Redis each process counts for itself."""

    def __init__(
        self,
        clock: Clock,
        *,
        url: str | None = None,
        namespace: str = "objectql",
        share: float = 1.0,
        timeout_s: float = 0.05,
    ) -> None:
        """`share` of a rate is this process's own while Redis does not answer within `timeout_s`.

        Raises:
            ValueError: `url` is not one of Redis.

        """
        self.now_s = clock.monotonic_s
        self.prefix = f"oql:{namespace}:rate:"
        """How its keys begin."""
        self._share = share
        self._names: dict[Name, _Name] = {}
        self._kept = KEPT
        self._unsettled: dict[_Name, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._link: RedisLink | None = None
        if url is not None:
            self._link = RedisLink(url, timeout_s=timeout_s, user="rates", on_connect=self._begin)

    @property
    def connection(self) -> RedisConnection | None:
        """The connection to Redis while there is one."""
        return None if self._link is None else self._link.connection

    @property
    def is_shared(self) -> bool:
        """Whether the processes of the cluster go by the same buckets now."""
        return self.connection is not None

    @property
    def known(self) -> int:
        """How many names are remembered here."""
        return len(self._names)

    async def run(self) -> None:
        """Keep the connection to Redis until cancelled."""
        if self._link is None:
            return
        try:
            await self._link.run()
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def spend(self, name: Name, rate: Rate, now_s: float) -> float | None:
        """Take one token of `name` without waiting; None where Redis must be asked: see `ask`.

        `now_s` is what `now_s()` said a moment ago, so that several names cost one look.

        The answer is that of `Bucket.take`: `rate.admits`, `rate.left` and `rate.wait_s` tell what
        it means.
        """
        known = self._names.get(name)
        if known is None or known.rate is not rate:
            known = self._remember(name, rate)
        if self._link is None or self._link.connection is None:
            return known.image.take(known.part, now_s)
        if known.untold + known.told >= known.advance:
            taken_s = known.image.full_in_s(now_s) + rate.each_s
            return None if rate.admits(taken_s) else taken_s
        taken_s = known.image.take(rate, now_s)
        if taken_s <= rate.window_s:
            known.untold += 1
            if known.untold * 2 > known.advance:
                self._charge(known, wanted=0)
            elif known.untold == 1:
                self._settle_later(known)
        return taken_s

    async def ask(self, name: Name, rate: Rate) -> float:
        """Take one token of `name`, from Redis where that is necessary; as `spend`."""
        found = self.spend(name, rate, self.now_s())
        if found is not None:
            return found
        known = self._names[name]
        try:
            taken_us, _ = await self._charge(known, wanted=1)
        except RedisFailed:
            return known.image.take(known.part, self.now_s())
        return int(taken_us) / 1e6

    def _begin(self, connection: RedisConnection) -> None:
        """Images of the time without Redis are of other buckets than those that count now."""
        connection.tell("SCRIPT", "LOAD", _SCRIPT)
        self._names.clear()

    def _remember(self, name: Name, rate: Rate) -> _Name:
        known = self._names.get(name)
        if known is not None:
            known.change(rate, self._share)
            return known
        if len(self._names) >= self._kept:
            self._tidy()
        known = self._names[name] = _Name(self.prefix + ":".join(name))
        known.change(rate, self._share)
        return known

    def _tidy(self) -> None:
        now_s = self.now_s()
        self._names = {
            name: known
            for name, known in self._names.items()
            if known.untold or known.told or known.image.full_in_s(now_s)
        }
        self._kept = max(KEPT, 2 * len(self._names))  # else every new name would come here

    def _settle_later(self, known: _Name) -> None:
        self._unsettled[known] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SETTLE_S, self._settle)

    def _settle(self) -> None:
        """Tell Redis of all tokens that it does not know of, in one write."""
        self._timer = None
        unsettled, self._unsettled = self._unsettled, {}
        for known in unsettled:
            if known.untold:
                self._charge(known, wanted=0)

    def _charge(self, known: _Name, *, wanted: int) -> asyncio.Future[tuple[bytes, bytes]]:
        """What `_SCRIPT` answers; it fails with `RedisFailed`."""
        untold, known.untold = known.untold, 0
        connection = self.connection
        if connection is None:
            nothing = asyncio.get_running_loop().create_future()
            nothing.set_exception(RedisFailed("not connected"))
            nothing.exception()  # nobody may be waiting
            return nothing
        known.told += untold
        rate = known.rate
        each_us, window_us = repr(rate.each_s * 1e6), repr(rate.window_s * 1e6)
        answer = connection.send(
            *("EVALSHA", _SCRIPT_SHA, 1, known.key, each_us, window_us, untold, wanted)
        )
        answer.add_done_callback(partial(self._learn, known, untold))
        return answer

    def _learn(
        self, known: _Name, confirmed: int, answer: asyncio.Future[tuple[bytes, bytes]]
    ) -> None:
        known.told -= confirmed
        if answer.cancelled() or answer.exception() is not None:
            return
        uncharged_s = (known.untold + known.told) * known.rate.each_s
        full_in_s = int(answer.result()[1]) / 1e6
        known.image.fill_in(full_in_s + uncharged_s, self.now_s())
