"""The caller asked for something that has no meaning: requests and queries."""

from __future__ import annotations

from dataclasses import dataclass

from objectql.errors.base import Category, ObjectQLError, plural, suggestion_text


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
    """The path or object exists, the method does not; `allowed` are those that do, if any."""

    method: str
    allowed: tuple[str, ...]

    @property
    def message(self) -> str:
        instead = f"; use {', '.join(self.allowed)}" if self.allowed else ""
        return f"{self.method} is not allowed here{instead}"


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
    path: str = ""

    @property
    def message(self) -> str:
        place = f" at {self.path}" if self.path else ""
        return (
            f"the query is too expensive{place}: {self.what} is {self.actual}, at most {self.max}"
        )
