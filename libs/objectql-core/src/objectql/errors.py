"""Every error of the system: one class tree whose leaves have a code and typed fields.

The category decides the HTTP and gRPC status and whether a caller may retry; the code says what
went wrong and is API; the message is for people and is not. An error travels over the bus as
`ErrorInfo` and is rebuilt there as the same class with the same fields.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, NamedTuple, cast

import msgspec


class Category(StrEnum):
    """What kind of failure it is; the value is the wire form."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    PRECONDITION_FAILED = "precondition_failed"
    UNSUPPORTED = "unsupported"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    OUTCOME_UNKNOWN = "outcome_unknown"
    INTERNAL = "internal"


class Transport(NamedTuple):
    """How a category looks to clients: HTTP status, gRPC status name, whether to retry."""

    http: int
    grpc: str
    retryable: bool


TRANSPORTS: dict[Category, Transport] = {
    Category.INVALID_REQUEST: Transport(400, "INVALID_ARGUMENT", retryable=False),
    Category.UNAUTHENTICATED: Transport(401, "UNAUTHENTICATED", retryable=False),
    Category.FORBIDDEN: Transport(403, "PERMISSION_DENIED", retryable=False),
    Category.NOT_FOUND: Transport(404, "NOT_FOUND", retryable=False),
    Category.CONFLICT: Transport(409, "ABORTED", retryable=True),
    Category.PRECONDITION_FAILED: Transport(412, "FAILED_PRECONDITION", retryable=False),
    Category.UNSUPPORTED: Transport(501, "UNIMPLEMENTED", retryable=False),
    Category.RATE_LIMITED: Transport(429, "RESOURCE_EXHAUSTED", retryable=True),
    Category.UNAVAILABLE: Transport(503, "UNAVAILABLE", retryable=True),
    Category.DEADLINE_EXCEEDED: Transport(504, "DEADLINE_EXCEEDED", retryable=True),
    Category.OUTCOME_UNKNOWN: Transport(503, "UNKNOWN", retryable=True),
    Category.INTERNAL: Transport(500, "INTERNAL", retryable=False),
}


class Issue(msgspec.Struct, frozen=True, omit_defaults=True):
    """One problem among several.

    `path` points into the request or document (`lines.0.amount`); `file`, `line` and `column`
    (both from 1) are set for problems in metadata files.
    """

    path: str
    code: str
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file else ""
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """The wire form of an error."""

    code: str
    category: Category
    message: str
    details: dict[str, Any] = {}
    issues: tuple[Issue, ...] = ()
    retry_after_ms: int | None = None


_BASE_FIELDS = frozenset({"issues", "retry_after_ms"})


@dataclass(eq=False, kw_only=True)
class ObjectQLError(Exception):
    """Base of every error. A leaf is a dataclass that names its `code` and `category`.

    A class without a code cannot be raised over the bus, and two classes cannot share one.
    """

    code: ClassVar[str] = ""
    category: ClassVar[Category] = Category.INTERNAL
    http_override: ClassVar[int | None] = None
    retryable_override: ClassVar[bool | None] = None
    _leaves: ClassVar[dict[str, type[ObjectQLError]]] = {}

    issues: tuple[Issue, ...] = ()
    retry_after_ms: int | None = None

    def __init_subclass__(
        cls,
        *,
        code: str,
        category: Category,
        http: int | None = None,
        retryable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        if code in ObjectQLError._leaves:
            raise TypeError(f"error code {code} is taken by {ObjectQLError._leaves[code]}")
        cls.code = code
        cls.category = category
        cls.http_override = http
        cls.retryable_override = retryable
        ObjectQLError._leaves[code] = cls

    @property
    def message(self) -> str:
        """One sentence for a person."""
        return type(self).__name__

    @property
    def http(self) -> int:
        """HTTP status."""
        return self.http_override or TRANSPORTS[self.category].http

    @property
    def retryable(self) -> bool:
        """Whether the same request may be sent again (with the same idempotency key)."""
        override = self.retryable_override
        return TRANSPORTS[self.category].retryable if override is None else override

    def __str__(self) -> str:
        lines = [self.message, *(f"  {issue}" for issue in self.issues)]
        return "\n".join(lines)

    def details(self) -> dict[str, Any]:
        """The leaf's own fields as plain values."""
        own = (f.name for f in dataclasses.fields(self) if f.name not in _BASE_FIELDS)
        return {name: msgspec.to_builtins(getattr(self, name)) for name in own}

    def to_info(self) -> ErrorInfo:
        """The wire form."""
        return ErrorInfo(
            code=self.code,
            category=self.category,
            message=self.message,
            details=self.details(),
            issues=self.issues,
            retry_after_ms=self.retry_after_ms,
        )

    @staticmethod
    def from_info(info: ErrorInfo) -> ObjectQLError:
        """The error that `info` describes; a code of a newer version becomes `RemoteError`."""
        leaf = ObjectQLError._leaves.get(info.code)
        if leaf is not None:
            known = {f.name for f in dataclasses.fields(leaf)}
            fields: dict[str, Any] = {
                key: tuple(cast("list[Any]", value)) if isinstance(value, list) else value
                for key, value in info.details.items()
                if key in known
            }
            try:
                return leaf(**fields, issues=info.issues, retry_after_ms=info.retry_after_ms)
            except TypeError:  # a field that this version requires is missing
                pass
        return RemoteError(
            remote_code=info.code,
            remote_category=info.category,
            text=info.message,
            issues=info.issues,
            retry_after_ms=info.retry_after_ms,
        )

    @staticmethod
    def leaves() -> Iterable[type[ObjectQLError]]:
        """Every error class, for documentation and the tests that walk them."""
        return tuple(ObjectQLError._leaves.values())


def plural(count: int, noun: str) -> str:
    """`1 problem`, `2 problems`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def suggestion_text(suggestions: tuple[str, ...]) -> str:
    """`; did you mean "a" or "b"?`, or nothing."""
    return (
        "; did you mean " + " or ".join(f'"{s}"' for s in suggestions) + "?" if suggestions else ""
    )


# --- the request -----------------------------------------------------------------------------


@dataclass(eq=False, kw_only=True)
class InvalidRequest(ObjectQLError, code="INVALID_REQUEST", category=Category.INVALID_REQUEST):
    """The request cannot be understood."""

    reason: str

    @property
    def message(self) -> str:
        return self.reason


@dataclass(eq=False, kw_only=True)
class InvalidJson(ObjectQLError, code="INVALID_JSON", category=Category.INVALID_REQUEST):
    """The body is not the JSON that was expected."""

    reason: str

    @property
    def message(self) -> str:
        return f"the body is not valid JSON: {self.reason}"


@dataclass(eq=False, kw_only=True)
class PayloadTooLarge(
    ObjectQLError, code="PAYLOAD_TOO_LARGE", category=Category.INVALID_REQUEST, http=413
):
    """The body is longer than the limit."""

    limit_bytes: int

    @property
    def message(self) -> str:
        return f"the body is larger than {self.limit_bytes} bytes"


@dataclass(eq=False, kw_only=True)
class MediaTypeUnsupported(
    ObjectQLError, code="UNSUPPORTED_MEDIA_TYPE", category=Category.INVALID_REQUEST, http=415
):
    """The body is of a kind that is not read here."""

    content_type: str

    @property
    def message(self) -> str:
        return f'a body of type "{self.content_type}" is not read here; send application/json'


@dataclass(eq=False, kw_only=True)
class MethodNotAllowed(
    ObjectQLError, code="METHOD_NOT_ALLOWED", category=Category.INVALID_REQUEST, http=405
):
    """The path exists, the method does not."""

    method: str
    allowed: tuple[str, ...]

    @property
    def message(self) -> str:
        return f"{self.method} is not allowed here; use {', '.join(self.allowed)}"


@dataclass(eq=False, kw_only=True)
class ValidationFailed(ObjectQLError, code="VALIDATION_FAILED", category=Category.INVALID_REQUEST):
    """A record breaks its object's rules; `issues` lists every violation."""

    object: str

    @property
    def message(self) -> str:
        return f"{plural(len(self.issues), 'problem')} in {self.object}"


@dataclass(eq=False, kw_only=True)
class BatchTooLarge(ObjectQLError, code="BATCH_TOO_LARGE", category=Category.INVALID_REQUEST):
    """More records in one request than allowed."""

    count: int
    max: int

    @property
    def message(self) -> str:
        return f"{self.count} records in one request; at most {self.max} are allowed"


# --- queries ---------------------------------------------------------------------------------


@dataclass(eq=False, kw_only=True)
class FieldUnknown(ObjectQLError, code="INVALID_FIELD", category=Category.INVALID_REQUEST):
    """No such field, or none that the caller may read: the two look alike on purpose."""

    object: str
    field: str
    suggestions: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        return f'{self.object} has no field "{self.field}"' + suggestion_text(self.suggestions)


@dataclass(eq=False, kw_only=True)
class InvalidFilter(ObjectQLError, code="INVALID_FILTER", category=Category.INVALID_REQUEST):
    """A filter that has no meaning; `path` or `position` (from 0) says where."""

    reason: str
    path: str = ""
    position: int | None = None
    suggestions: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        place = f" at {self.path}" if self.path else ""
        place += f" at position {self.position}" if self.position is not None else ""
        return f"invalid filter{place}: {self.reason}{suggestion_text(self.suggestions)}"


@dataclass(eq=False, kw_only=True)
class InvalidQuery(ObjectQLError, code="INVALID_QUERY", category=Category.INVALID_REQUEST):
    """Any other part of a query that has no meaning."""

    reason: str
    path: str = ""
    suggestions: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        place = f" at {self.path}" if self.path else ""
        return f"invalid query{place}: {self.reason}{suggestion_text(self.suggestions)}"


@dataclass(eq=False, kw_only=True)
class QueryParamUnknown(
    ObjectQLError, code="UNSUPPORTED_QUERY_PARAM", category=Category.INVALID_REQUEST
):
    """A query parameter that means nothing here."""

    param: str
    suggestions: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        return f'unknown query parameter "{self.param}"' + suggestion_text(self.suggestions)


@dataclass(eq=False, kw_only=True)
class TooManyRecords(ObjectQLError, code="MAX_RECORDS_EXCEEDED", category=Category.INVALID_REQUEST):
    """A page larger than allowed."""

    requested: int
    max: int

    @property
    def message(self) -> str:
        return f"{self.requested} records asked for; a page holds at most {self.max}"


@dataclass(eq=False, kw_only=True)
class QueryTooExpensive(
    ObjectQLError, code="QUERY_TOO_EXPENSIVE", category=Category.INVALID_REQUEST
):
    """A query beyond a cost limit, refused before any SQL."""

    what: str
    actual: int
    max: int

    @property
    def message(self) -> str:
        return f"the query is too expensive: {self.what} is {self.actual}, at most {self.max}"


# --- who and what is missing ---------------------------------------------------------------


@dataclass(eq=False, kw_only=True)
class Unauthenticated(ObjectQLError, code="UNAUTHENTICATED", category=Category.UNAUTHENTICATED):
    """No valid credentials. The cause is logged, never told."""

    @property
    def message(self) -> str:
        return "valid credentials are required"


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


# --- conflicts -----------------------------------------------------------------------------


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


# --- the system -----------------------------------------------------------------------------


@dataclass(eq=False, kw_only=True)
class NotSupported(ObjectQLError, code="NOT_IMPLEMENTED", category=Category.UNSUPPORTED):
    """The request is understood and this system does not do it."""

    feature: str

    @property
    def message(self) -> str:
        return f"{self.feature} is not supported"


@dataclass(eq=False, kw_only=True)
class RateLimited(ObjectQLError, code="RATE_LIMIT_EXCEEDED", category=Category.RATE_LIMITED):
    """Too many requests."""

    @property
    def message(self) -> str:
        return "too many requests"


@dataclass(eq=False, kw_only=True)
class Unavailable(ObjectQLError, code="SERVICE_UNAVAILABLE", category=Category.UNAVAILABLE):
    """A part of the system that is needed does not answer; nothing was done."""

    what: str

    @property
    def message(self) -> str:
        return f"{self.what} is unavailable"


@dataclass(eq=False, kw_only=True)
class Overloaded(ObjectQLError, code="OVERLOADED", category=Category.UNAVAILABLE):
    """Refused at the door because too much is in flight; nothing was done."""

    @property
    def message(self) -> str:
        return "too much is in flight; try again"


@dataclass(eq=False, kw_only=True)
class PoolExhausted(ObjectQLError, code="POOL_EXHAUSTED", category=Category.UNAVAILABLE):
    """No database connection became free in time; nothing was done."""

    pool: str

    @property
    def message(self) -> str:
        return f'no connection of "{self.pool}" became free in time'


@dataclass(eq=False, kw_only=True)
class KernelNotStarted(ObjectQLError, code="KERNEL_NOT_STARTED", category=Category.UNAVAILABLE):
    """An operation before `start` or after `stop`."""

    @property
    def message(self) -> str:
        return "the kernel is not started"


@dataclass(eq=False, kw_only=True)
class DeadlineExceeded(
    ObjectQLError, code="DEADLINE_EXCEEDED", category=Category.DEADLINE_EXCEEDED
):
    """The request's deadline passed before its work was done; nothing was written."""

    @property
    def message(self) -> str:
        return "the deadline passed"


@dataclass(eq=False, kw_only=True)
class OutcomeUnknown(ObjectQLError, code="OUTCOME_UNKNOWN", category=Category.OUTCOME_UNKNOWN):
    """A write was sent and no answer came: it may or may not have happened."""

    @property
    def message(self) -> str:
        return "no answer came; repeat with the same idempotency key to learn the outcome"


@dataclass(eq=False, kw_only=True)
class MetadataInvalid(ObjectQLError, code="INVALID_METADATA", category=Category.INVALID_REQUEST):
    """Metadata that cannot be published; `issues` lists every problem with its place."""

    @property
    def message(self) -> str:
        return f"{plural(len(self.issues), 'problem')} in the metadata"


@dataclass(eq=False, kw_only=True)
class SchemaChangeRefused(
    ObjectQLError, code="DESTRUCTIVE_CHANGE", category=Category.CONFLICT, retryable=False
):
    """A schema change that would lose data and was not asked for; `issues` lists each."""

    @property
    def message(self) -> str:
        return f"{plural(len(self.issues), 'change')} would lose data"


@dataclass(eq=False, kw_only=True)
class HookAborted(ObjectQLError, code="HOOK_ABORTED", category=Category.INVALID_REQUEST):
    """A hook refused the operation, on purpose; `status` is the HTTP status that it chose."""

    hook: str
    reason: str
    hook_code: str = ""
    status: int = 400

    @property
    def message(self) -> str:
        return self.reason

    @property
    def http(self) -> int:
        return self.status


@dataclass(eq=False, kw_only=True)
class HookFailed(ObjectQLError, code="HOOK_ERROR", category=Category.INTERNAL):
    """A hook or action raised something unexpected; the operation was rolled back."""

    hook: str

    @property
    def message(self) -> str:
        return f"{self.hook} failed"


@dataclass(eq=False, kw_only=True)
class HookRecursion(ObjectQLError, code="HOOK_RECURSION", category=Category.INTERNAL):
    """Hooks and actions called each other too deeply; the operation was rolled back."""

    object: str
    depth: int

    @property
    def message(self) -> str:
        return f"hooks and actions on {self.object} are nested {self.depth} deep"


@dataclass(eq=False, kw_only=True)
class MiddlewareMisused(ObjectQLError, code="MIDDLEWARE_ERROR", category=Category.INTERNAL):
    """A middleware broke the rules of the onion."""

    middleware: str
    reason: str

    @property
    def message(self) -> str:
        return f"middleware {self.middleware}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class PluginFailed(ObjectQLError, code="PLUGIN_ERROR", category=Category.INTERNAL):
    """A plugin's phase raised or ran out of time; what had started was stopped again."""

    plugin: str
    phase: str
    reason: str

    @property
    def message(self) -> str:
        return f"{self.plugin} failed to {self.phase}: {self.reason}"


@dataclass(eq=False, kw_only=True)
class PluginInvalid(ObjectQLError, code="INVALID_PLUGIN", category=Category.INTERNAL):
    """Components that cannot be loaded together; `issues` lists every problem."""

    @property
    def message(self) -> str:
        return f"{plural(len(self.issues), 'problem')} with the components"


@dataclass(eq=False, kw_only=True)
class DatabaseFailed(ObjectQLError, code="DATABASE_ERROR", category=Category.INTERNAL):
    """The database refused a statement for a reason that is ours to mend; the log has it."""

    @property
    def message(self) -> str:
        return "the database refused the statement"


@dataclass(eq=False, kw_only=True)
class Internal(ObjectQLError, code="INTERNAL_ERROR", category=Category.INTERNAL):
    """A bug. The log has the stack under the request id."""

    @property
    def message(self) -> str:
        return "internal error"


@dataclass(eq=False, kw_only=True)
class RemoteError(ObjectQLError, code="REMOTE_ERROR", category=Category.INTERNAL):
    """An error whose code this version does not know: it keeps code and category of the sender."""

    remote_code: str
    remote_category: Category
    text: str

    @property
    def message(self) -> str:
        return self.text

    @property
    def http(self) -> int:
        return TRANSPORTS[self.remote_category].http

    @property
    def retryable(self) -> bool:
        return TRANSPORTS[self.remote_category].retryable
