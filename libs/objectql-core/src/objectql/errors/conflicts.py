"""Other changes that stand in the way."""

from __future__ import annotations

from dataclasses import dataclass

from objectql.errors.base import Category, ObjectQLError


@dataclass(eq=False, kw_only=True)
class VersionConflict(
    ObjectQLError, code="CONCURRENT_UPDATE", category=Category.PRECONDITION_FAILED
):
    """The record has changed since the version that the caller names."""

    object: str
    id: str
    current_version: int | None = None

    @property
    def message(self) -> str:
        return f'{self.object} "{self.id}" was changed by someone else; read it again'


@dataclass(eq=False, kw_only=True)
class UniqueViolation(
    ObjectQLError, code="UNIQUE_VIOLATION", category=Category.CONFLICT, retryable=False
):
    """Another record has the same value where values are unique."""

    object: str
    fields: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"another {self.object} has the same {', '.join(self.fields)}"


@dataclass(eq=False, kw_only=True)
class DeleteRestricted(
    ObjectQLError, code="DELETE_RESTRICTED", category=Category.CONFLICT, retryable=False
):
    """Other records point to this one and their field says `restrict`."""

    object: str
    id: str
    referenced_by: str

    @property
    def message(self) -> str:
        return f'{self.object} "{self.id}" is used by {self.referenced_by}'


@dataclass(eq=False, kw_only=True)
class IdempotencyMismatch(
    ObjectQLError, code="IDEMPOTENCY_KEY_REUSED", category=Category.CONFLICT, retryable=False
):
    """The idempotency key came before with another request."""

    key: str

    @property
    def message(self) -> str:
        return "this idempotency key was used for another request"


@dataclass(eq=False, kw_only=True)
class WriteConflict(ObjectQLError, code="WRITE_CONFLICT", category=Category.CONFLICT):
    """A serialization failure or deadlock that outlived the retries."""

    @property
    def message(self) -> str:
        return "a concurrent change got in the way; try again"


@dataclass(eq=False, kw_only=True)
class TenantExists(
    ObjectQLError, code="TENANT_EXISTS", category=Category.CONFLICT, retryable=False
):
    """The tenant is registered already, or its deletion has not ended."""

    id: str

    @property
    def message(self) -> str:
        return f'there is a tenant "{self.id}" already, or what is left of it is being deleted'


@dataclass(eq=False, kw_only=True)
class PlaceTaken(
    ObjectQLError, code="TENANT_PLACE_TAKEN", category=Category.CONFLICT, retryable=False
):
    """What would be a tenant's own schema or database is there, and somebody else's."""

    kind: str
    name: str

    @property
    def message(self) -> str:
        return f'there is a {self.kind} "{self.name}" that was not made for this tenant'


@dataclass(eq=False, kw_only=True)
class TenantHasRecords(
    ObjectQLError, code="TENANT_HAS_RECORDS", category=Category.CONFLICT, retryable=False
):
    """Tables of its own would hide what the tenant has written into the shared ones."""

    id: str

    @property
    def message(self) -> str:
        return (
            f'the tenant "{self.id}" has records in the shared tables, from before it was'
            ' registered: register it with the isolation "row", or delete it as such first'
        )


@dataclass(eq=False, kw_only=True)
class TenantNotSuspended(
    ObjectQLError, code="TENANT_NOT_SUSPENDED", category=Category.CONFLICT, retryable=False
):
    """Only a suspended tenant is deleted."""

    id: str

    @property
    def message(self) -> str:
        return f'suspend the tenant "{self.id}" first, or confirm its deletion by naming it'
