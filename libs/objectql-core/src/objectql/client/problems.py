"""Errors as they come: problem documents and error frames become the class with that code."""

from __future__ import annotations

from typing import Any

import msgspec

from objectql.errors import TRANSPORTS, Category, ErrorInfo, Issue, ObjectQLError


class _Problem(msgspec.Struct):
    code: str = ""
    detail: str = ""
    message: str = ""
    details: dict[str, Any] = {}
    errors: tuple[Issue, ...] = ()
    retry_after_ms: int | None = None


_read_problem = msgspec.json.Decoder(_Problem).decode

_CATEGORIES = {
    transport.http: category
    for category, transport in reversed(TRANSPORTS.items())
    if category is not Category.OUTCOME_UNKNOWN  # only a gateway of ours can say that
}


def problem_error(status: int, body: bytes) -> ObjectQLError:
    """The error that an answer of `status` means; also of a proxy, which has bodies of its own."""
    try:
        problem = _read_problem(body)
    except msgspec.DecodeError:
        problem = _Problem()
    if not problem.code:
        problem.code, problem.detail = f"HTTP_{status}", f"the server answered {status}"
    return _rebuilt(problem, _category(status))


def frame_error(frame: dict[str, Any]) -> ObjectQLError:
    """The error that an `error` frame tells."""
    return _rebuilt(msgspec.convert(frame, _Problem), Category.INTERNAL)


def _rebuilt(problem: _Problem, category: Category) -> ObjectQLError:
    known = {leaf.code: leaf.category for leaf in ObjectQLError.leaves()}
    return ObjectQLError.from_info(
        ErrorInfo(
            code=problem.code,
            category=known.get(problem.code, category),
            message=problem.detail or problem.message,
            details=problem.details,
            issues=problem.errors,
            retry_after_ms=problem.retry_after_ms,
        )
    )


def _category(status: int) -> Category:
    if status == 502:  # a proxy whose gateway is away
        return Category.UNAVAILABLE
    default = Category.INTERNAL if status >= 500 else Category.INVALID_REQUEST
    return _CATEGORIES.get(status, default)
