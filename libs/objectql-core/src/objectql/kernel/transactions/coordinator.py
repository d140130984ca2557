"""The port to the coordinator that leads. Only transactions over several sources need it."""

from __future__ import annotations

from typing import Protocol

from objectql.errors import TransactionUnavailable
from objectql.txn.names import Outcome
from objectql.wire.transactions import DecideRequest, Decision


class Coordinator(Protocol):
    """Who decides."""

    @property
    def kernel(self) -> str:
        """What it knows this kernel by (`txn.names.kernel_name`)."""
        ...

    def epoch(self) -> int:
        """The epoch of the coordinator that leads, as far as is known; asks nobody.

        Raises:
            TransactionUnavailable: none is known to lead.

        """
        ...

    async def decide(self, request: DecideRequest) -> Outcome:
        """What the log says now. It may be asked again, and again, until it answers.

        Raises:
            ObjectQLError: whatever keeps it from being known; it may be known later.

        """
        ...

    async def decision(self, id: str) -> Decision | None:
        """What was decided; None: nothing, or it is in force and forgotten.

        Raises:
            ObjectQLError: likewise.

        """
        ...

    def finished(self, id: str) -> None:
        """Say that a transaction has committed everywhere; may be lost."""
        ...


class NoCoordinator:
    """See `Coordinator`: there is none, as in a program of one process."""

    kernel = "-"

    def epoch(self) -> int:
        """See `Coordinator`."""
        raise TransactionUnavailable(reason="no coordinator leads")

    async def decide(self, request: DecideRequest) -> Outcome:
        """See `Coordinator`."""
        del request
        raise TransactionUnavailable(reason="no coordinator leads")

    async def decision(self, id: str) -> Decision | None:
        """See `Coordinator`: without one nothing is ever decided."""
        del id
        return None

    def finished(self, id: str) -> None:
        """See `Coordinator`."""
