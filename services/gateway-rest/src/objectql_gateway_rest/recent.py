"""The transactions that this gateway has answered lately, for `GET /api/transactions/{id}`.

Only final states are kept, so what is remembered cannot become wrong; what is forgotten, or was
answered by another gateway, is not found here.
"""

from __future__ import annotations

from collections import OrderedDict

from objectql.ids import TenantId

_CAPACITY = 4096


class RecentTransactions:
    """A bounded memory of (tenant, transaction id) → final state."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._capacity = capacity
        self._states: OrderedDict[tuple[TenantId, str], str] = OrderedDict()

    def remember(self, tenant: TenantId, id: str, state: str) -> None:
        """Keep a final state; others are ignored."""
        if state not in {"committed", "aborted"} or not id:
            return
        self._states[tenant, id] = state
        self._states.move_to_end((tenant, id))
        if len(self._states) > self._capacity:
            self._states.popitem(last=False)

    def state(self, tenant: TenantId, id: str) -> str | None:
        """The state of the tenant's transaction, if it is known here."""
        return self._states.get((tenant, id))
