"""Transactions over several data sources."""

from __future__ import annotations

from dataclasses import dataclass

from objectql.errors.base import Category, ObjectQLError


@dataclass(eq=False, kw_only=True)
class TransactionUnavailable(
    ObjectQLError, code="TRANSACTION_UNAVAILABLE", category=Category.UNAVAILABLE
):
    """Nobody can decide transactions over several data sources now; nothing was done."""

    reason: str

    @property
    def message(self) -> str:
        return f"no transaction over several data sources now: {self.reason}"


@dataclass(eq=False, kw_only=True)
class TransactionAborted(ObjectQLError, code="TRANSACTION_ABORTED", category=Category.CONFLICT):
    """A transaction over several data sources was given up; nothing of it was or will be done."""

    id: str
    reason: str

    @property
    def message(self) -> str:
        return f"the transaction {self.id} was given up: {self.reason}"


@dataclass(eq=False, kw_only=True)
class RecordsInDoubt(ObjectQLError, code="RECORDS_IN_DOUBT", category=Category.UNAVAILABLE):
    """What an atomic read asks for is part of a transaction that has not ended everywhere."""

    object: str
    transaction: str

    @property
    def message(self) -> str:
        return f"the transaction {self.transaction}, which wrote to {self.object}, has not ended"


@dataclass(eq=False, kw_only=True)
class TooManySources(ObjectQLError, code="TOO_MANY_SOURCES", category=Category.INVALID_REQUEST):
    """A transaction over more data sources than allowed; nothing was done."""

    count: int
    max: int

    @property
    def message(self) -> str:
        return f"{self.count} data sources in one transaction; at most {self.max} are allowed"


@dataclass(eq=False, kw_only=True)
class TransactionDecided(
    ObjectQLError, code="TRANSACTION_DECIDED", category=Category.CONFLICT, retryable=False
):
    """The outcome of a transaction is decided, and not the one that was asked for. It stands."""

    id: str
    outcome: str

    @property
    def message(self) -> str:
        return f"the transaction {self.id} is decided: {self.outcome}"


@dataclass(eq=False, kw_only=True)
class SourceCannotPrepare(
    ObjectQLError, code="SOURCE_CANNOT_PREPARE", category=Category.UNSUPPORTED
):
    """A data source that cannot be part of a transaction over several of them; nothing was done."""

    source: str
    reason: str

    @property
    def message(self) -> str:
        return f'the data source "{self.source}" cannot take part: {self.reason}'
