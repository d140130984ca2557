"""Where this gateway's last writes stand, for readers who do not keep tokens.

A client that presents its token is promised to see its writes through any gateway. One that knows
nothing of tokens gets as much through this gateway: its reads see what was written here lately for
the same tenant. Nothing depends on it, so it may be forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from objectql.ids import TenantId
from objectql.wire.consistency import merged_text

CAPACITY: Final = 4096

KEPT_S: Final = 60.0
"""After that a replica that is still behind is too old for the default policy."""


class RecentWrites:
    """A bounded memory of tenant → token."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._tokens: OrderedDict[TenantId, tuple[float, str]] = OrderedDict()

    def remember(self, tenant: TenantId, token: str, now_s: float) -> None:
        """Let the tenant's readers see the write that was answered with `token`."""
        known = self.token(tenant, now_s)
        if known is not None and known != token:
            token = merged_text(known, token)
        self._tokens[tenant] = (now_s, token)
        self._tokens.move_to_end(tenant)
        if len(self._tokens) > self._capacity:
            self._tokens.popitem(last=False)

    def answered(self, tenant: TenantId, token: str, known: str | None, now_s: float) -> str:
        """`remember` the write, and what its caller is told, who needs to keep the last token only.

        `known` is what the caller has presented, or was told before.
        """
        self.remember(tenant, token, now_s)
        return token if known is None or known == token else merged_text(known, token)

    def token(self, tenant: TenantId, now_s: float) -> str | None:
        """What the tenant's next reader should see, if anything was written lately."""
        found = self._tokens.get(tenant)
        if found is None:
            return None
        at_s, token = found
        if now_s - at_s > KEPT_S:
            del self._tokens[tenant]
            return None
        return token
