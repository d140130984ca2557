"""Reads that may be answered by the result cache."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Generic, NamedTuple, TypeVar

import msgspec

from objectql.drivers.protocol import Page, RecordImage
from objectql.kernel.fetch import Fetch
from objectql.kernel.planning import Runnable, Scope
from objectql.kernel.result_cache.cache import Bypass, ResultCache, read_tags

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()


class _Form(NamedTuple, Generic[T]):
    """How one kind of answer is kept; `mark` tells it from the other kind in names."""

    mark: bytes
    decode: Callable[[memoryview], T]


_decode_record: msgspec.msgpack.Decoder[RecordImage | None] = msgspec.msgpack.Decoder(
    RecordImage | None  # pyright: ignore[reportArgumentType] - a union is no `type`
)
_PAGE = _Form(b"p", msgspec.msgpack.Decoder(Page).decode)
_RECORD = _Form(b"r", _decode_record.decode)


class CachedReads:
    """See `Fetch`. Whatever the cache cannot answer is asked of the next in the chain.

    Reads inside a transaction, reads with a consistency token and reads under the policies
    `primary` and `atomic` never come from the cache.
    """

    def __init__(self, following: Fetch, cache: ResultCache) -> None:
        self._following = following
        self._cache = cache

    async def page(self, run: Runnable, scope: Scope) -> Page:
        """See `Fetch`."""
        return await self._read(run, scope, _PAGE, self._following.page)

    async def record(self, run: Runnable, scope: Scope) -> RecordImage | None:
        """See `Fetch`."""
        return await self._read(run, scope, _RECORD, self._following.record)

    async def _read(
        self,
        run: Runnable,
        scope: Scope,
        form: _Form[T],
        fetch: Callable[[Runnable, Scope], Awaitable[T]],
    ) -> T:
        cache, context = self._cache, scope.context
        sources = cache.limits.sources
        if scope.session is not None or (
            sources is not None and run.prepared.driver.name not in sources
        ):
            return await fetch(run, scope)
        statistics = cache.statistics
        policy = context.read_policy
        if context.consistency_token is not None or (policy is not None and policy.is_primary):
            return await self._bypass("asked", run, scope, fetch)
        tags = _tags(run, scope)
        if not cache.store.is_available:
            return await self._bypass("unavailable", run, scope, fetch)
        if not cache.trust.allows(tags):
            return await self._bypass("doubted", run, scope, fetch)
        name = _name(run, form.mark)
        found = await cache.store.look((name, *tags))
        if found is None:
            return await self._bypass("unavailable", run, scope, fetch)
        entry, *tokens = found
        stamp = _stamp(tokens)
        if entry is not None and stamp is not None and entry.startswith(stamp):
            statistics.hits += 1
            if scope.spent is not None:
                scope.spent.data_from = "cache"
            return form.decode(memoryview(entry)[len(stamp) :])
        statistics.misses += 1
        if stamp is None:
            stamp = _stamp(await cache.store.claim(tags))
        if stamp is None or policy is not None:
            return await fetch(run, scope)  # who names a policy may spare the primary
        # What is kept must not be older than the stamp, as an answer of a replica may be.
        answer = await fetch(run, scope._replace(may_lag=False))
        self._keep(name, stamp, answer)
        return answer

    async def _bypass(
        self,
        reason: Bypass,
        run: Runnable,
        scope: Scope,
        fetch: Callable[[Runnable, Scope], Awaitable[T]],
    ) -> T:
        self._cache.statistics.bypassed[reason] += 1
        return await fetch(run, scope)

    def _keep(self, name: str, stamp: bytes, answer: Page | RecordImage | object | None) -> None:
        limits, statistics = self._cache.limits, self._cache.statistics
        entry = stamp + _encoder.encode(answer)
        if len(entry) > limits.max_entry_bytes:
            statistics.too_large += 1
            return
        # Entries made together shall not end together.
        ttl_ms = int(limits.ttl_ms * random.uniform(0.8, 1.0))  # noqa: S311 - jitter, not a secret
        self._cache.store.keep(name, entry, ttl_ms)
        statistics.kept += 1


def _tags(run: Runnable, scope: Scope) -> tuple[str, ...]:
    reads = run.prepared.reads
    record = None if reads.record is None else run.params[reads.record]
    return read_tags(
        scope.context.tenant,
        [object_.name for object_ in reads.objects],
        record if isinstance(record, str) else None,
    )


def _name(run: Runnable, mark: bytes) -> str:
    """The tenant is one of the parameters."""
    digest = blake2b(mark + run.prepared.digest, digest_size=16)
    digest.update(_encoder.encode(run.params))
    return "e:" + digest.hexdigest()


def _stamp(tokens: Sequence[bytes | None] | None) -> bytes | None:
    """What an entry begins with that was made under these tokens; None: some are missing."""
    found = [token for token in tokens or () if token is not None]
    return b"".join(found) if tokens is not None and len(found) == len(tokens) else None
