"""The kernel's settings: limits, defaults and the switches of optional mechanisms.

Every switch turns off a mechanism that only makes things faster; answers are the same without it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from objectql.context import ReadPolicy
from objectql.kernel.identity.policy import IdentityPolicy
from objectql.kernel.webhooks.policy import WebhookPolicy
from objectql.query.limits import QueryLimits


class Features(msgspec.Struct, frozen=True):
    """Switches for mechanisms whose absence nobody should notice but by the time they take."""

    query_caching: bool = True
    """Keep prepared plans. Owner: kernel; stays, as the way to rule the cache out."""
    shared_reads: bool = True
    """Send reads that arrive together in one statement. Owner: kernel; stays likewise."""
    direct_writes: bool = True
    """Write single rows without hooks in one round trip. Owner: kernel; stays likewise."""


class KernelSettings(msgspec.Struct, frozen=True):
    """Limits and defaults of one kernel."""

    node: str = "local"
    default_access: Literal["deny", "allow"] = "deny"
    """What holds for an object without a permission file, for callers who are no admins."""
    unknown_tenants: Literal["accept", "refuse"] = "accept"
    """What becomes of requests in the name of a tenant that is not registered."""
    timezone: str = "UTC"
    default_limit: int = 100
    max_limit: int = 1000
    max_bulk_rows: int = 1000
    max_batch_operations: int = 200
    max_batch_sources: int = 8
    """How many data sources one batch may write to; each adds a part that may be waited for."""
    max_transaction_s: float = 60.0
    """How long after its beginning a transaction over several sources can be decided, whatever its
    deadline: so long its records are locked where nobody comes back to it."""
    max_affected_rows: int = 10_000
    """How many records one deletion or `write_where` may touch, cascades included."""
    max_nesting: int = 16
    """How deep hooks and actions may call each other."""
    bulk_chunk_rows: int = 200
    max_reads: int = 16
    """Reads that one data source runs at once: as many as it has connections."""
    query: QueryLimits = QueryLimits()
    identity: IdentityPolicy = IdentityPolicy()
    webhooks: WebhookPolicy = WebhookPolicy()
    tenant_share: float = 0.5
    """The part of `max_reads` that one tenant may take."""
    plan_cache_size: int = 2000
    phase_timeout_s: float = 30.0
    drain_timeout_s: float = 30.0
    default_deadline_s: float = 30.0
    """For calls of the Python interface that name no deadline."""
    sync_schema: bool = True
    read_policy: ReadPolicy = ReadPolicy.BOUNDED
    """Where reads may be answered that name no policy; it matters only where there are replicas."""
    max_lag_ms: int = 5000
    """The bound of `ReadPolicy.BOUNDED`, likewise."""
    token_wait_ms: int = 100
    """How long a reader under `ReadPolicy.ANY` waits for a replica to reach its token."""
    features: Features = Features()
