"""Who may not, and what is not there."""

from __future__ import annotations

from dataclasses import dataclass

from objectql.errors.base import Category, ObjectQLError, suggestion_text


@dataclass(eq=False, kw_only=True)
class Unauthenticated(ObjectQLError, code="UNAUTHENTICATED", category=Category.UNAUTHENTICATED):
    """No valid credentials. The cause is logged, never told."""

    @property
    def message(self) -> str:
        return "valid credentials are required"


@dataclass(eq=False, kw_only=True)
class CallerUntrusted(ObjectQLError, code="CALLER_UNTRUSTED", category=Category.FORBIDDEN):
    """A message on the bus that no gateway of this cluster has signed.

    Not `Unauthenticated`: a gateway with an old key must not sign its users out.
    """

    @property
    def message(self) -> str:
        return "the service does not trust whoever sent this request"


@dataclass(eq=False, kw_only=True)
class PasswordChangeRequired(
    ObjectQLError, code="PASSWORD_CHANGE_REQUIRED", category=Category.FORBIDDEN
):
    """The password is right and must be replaced: sign in again with `new_password`."""

    @property
    def message(self) -> str:
        return "the password must be changed; sign in with a new_password"


@dataclass(eq=False, kw_only=True)
class PermissionDenied(ObjectQLError, code="PERMISSION_DENIED", category=Category.FORBIDDEN):
    """The caller may not do this."""

    operation: str
    object: str
    fields: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        fields = f" ({', '.join(self.fields)})" if self.fields else ""
        return f"you may not {self.operation} {self.object}{fields}"


@dataclass(eq=False, kw_only=True)
class CrossSiteRefused(ObjectQLError, code="CROSS_SITE_REQUEST", category=Category.FORBIDDEN):
    """A browser's session in a cookie, used by what may be a page of somebody else."""

    reason: str

    @property
    def message(self) -> str:
        return f"with a cookie this request is refused: {self.reason}"


@dataclass(eq=False, kw_only=True)
class TenantRefused(ObjectQLError, code="TENANT_NOT_ACTIVE", category=Category.FORBIDDEN):
    """The caller's tenant is suspended, deleted or not registered; it is not told which."""

    @property
    def message(self) -> str:
        return "your tenant is not active"


@dataclass(eq=False, kw_only=True)
class TenantUnknown(ObjectQLError, code="TENANT_NOT_FOUND", category=Category.NOT_FOUND):
    """No such tenant is registered."""

    id: str

    @property
    def message(self) -> str:
        return f'there is no tenant "{self.id}"'


@dataclass(eq=False, kw_only=True)
class ObjectUnknown(ObjectQLError, code="OBJECT_NOT_FOUND", category=Category.NOT_FOUND):
    """No such object."""

    object: str
    suggestions: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        return f'there is no object "{self.object}"' + suggestion_text(self.suggestions)


@dataclass(eq=False, kw_only=True)
class RecordNotFound(ObjectQLError, code="RECORD_NOT_FOUND", category=Category.NOT_FOUND):
    """No such record, or none that the caller may see."""

    object: str
    id: str

    @property
    def message(self) -> str:
        return f'there is no {self.object} "{self.id}"'


@dataclass(eq=False, kw_only=True)
class MetadataNotFound(ObjectQLError, code="METADATA_NOT_FOUND", category=Category.NOT_FOUND):
    """No metadata item of this type and name."""

    type: str
    name: str
    suggestions: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        return f'there is no {self.type} "{self.name}"' + suggestion_text(self.suggestions)


@dataclass(eq=False, kw_only=True)
class ActionUnknown(ObjectQLError, code="ACTION_NOT_FOUND", category=Category.NOT_FOUND):
    """The object has no such action."""

    object: str
    action: str
    suggestions: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        return f'{self.object} has no action "{self.action}"' + suggestion_text(self.suggestions)


@dataclass(eq=False, kw_only=True)
class TransactionUnknown(ObjectQLError, code="TRANSACTION_NOT_FOUND", category=Category.NOT_FOUND):
    """No transaction with this id is known (any more)."""

    id: str

    @property
    def message(self) -> str:
        return f'there is no transaction "{self.id}"'


@dataclass(eq=False, kw_only=True)
class MemberUnknown(ObjectQLError, code="MEMBER_NOT_FOUND", category=Category.NOT_FOUND):
    """No process of the cluster that is alive has this name."""

    member: str

    @property
    def message(self) -> str:
        return f'no process "{self.member}" is alive'


@dataclass(eq=False, kw_only=True)
class RouteUnknown(ObjectQLError, code="ENDPOINT_NOT_FOUND", category=Category.NOT_FOUND):
    """Nothing is served under this path."""

    path: str

    @property
    def message(self) -> str:
        return f"nothing is served at {self.path}"


@dataclass(eq=False, kw_only=True)
class RowNotAttempted(
    ObjectQLError, code="NOT_ATTEMPTED", category=Category.CONFLICT, retryable=False
):
    """An earlier row of the same request failed, so this one was not tried."""

    @property
    def message(self) -> str:
        return "not attempted because an earlier row failed"


@dataclass(eq=False, kw_only=True)
class RowRolledBack(ObjectQLError, code="ROLLED_BACK", category=Category.CONFLICT, retryable=False):
    """Another row of the same atomic request failed, so this one was undone."""

    @property
    def message(self) -> str:
        return "rolled back because another row failed"
