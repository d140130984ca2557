"""What all errors share: categories and how they look to clients, the wire form, the base class.

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
    (both from 1) are set for problems in metadata files. A document that is in no file, as one
    that was put over the API, has `type/name` as its `file` and no line.
    """

    path: str
    code: str
    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        line = "" if self.line is None else f":{self.line}"
        place = f"{self.file}{line}: " if self.file else ""
        return f"{place}{self.path}: {self.message}" if self.path else f"{place}{self.message}"


class ErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """The wire form of an error."""

    code: str
    category: Category
    message: str
    details: dict[str, Any] = {}
    issues: tuple[Issue, ...] = ()
    retry_after_ms: int | None = None


DEFAULT_WAIT_MS = 1000

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

    @property
    def wait_ms(self) -> int | None:
        """How long to wait before a retry: as told, or a second where something is away."""
        if self.retry_after_ms is None and self.http == TRANSPORTS[Category.UNAVAILABLE].http:
            return DEFAULT_WAIT_MS
        return self.retry_after_ms

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

    def told(self) -> ErrorInfo:
        """What clients are told, by every protocol: where it is (if known), and how long to wait."""
        info = self.to_info()
        issues = self.issues
        place = info.details.get("path") or info.details.get("field")
        if not issues and place:
            issues = (Issue(path=str(place), code=self.code, message=self.message),)
        return msgspec.structs.replace(info, issues=issues, retry_after_ms=self.wait_ms)

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

    def told(self) -> ErrorInfo:
        """What the sender has told."""
        return ErrorInfo(
            code=self.remote_code,
            category=self.remote_category,
            message=self.text,
            issues=self.issues,
            retry_after_ms=self.wait_ms,
        )
