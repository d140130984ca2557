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
class SourceCannotPrepare(
    ObjectQLError, code="SOURCE_CANNOT_PREPARE", category=Category.UNSUPPORTED
):
    """A data source that cannot be part of a transaction over several of them; nothing was done."""

    source: str
    reason: str

    @property
    def message(self) -> str:
        return f'the data source "{self.source}" cannot take part: {self.reason}'
