"""Failures of single rows in a request for many: told per row, or as the failure of them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from objectql.errors import ErrorInfo, Issue, ObjectQLError
from objectql.wire.messages import RowResult

CONSEQUENCES = frozenset({"ROLLED_BACK", "NOT_ATTEMPTED"})
"""Codes of rows that failed only because another one did."""


def raise_first(results: Sequence[RowResult], at: str) -> None:
    """Return if every row succeeded.

    Raises:
        ObjectQLError: the first row's own error; `issues` lists those of every row, each path
            beginning with `at` and the row's index.

    """
    failures = [
        (index, result.error) for index, result in enumerate(results) if result.error is not None
    ]
    if not failures:
        return
    causes = [(i, error) for i, error in failures if error.code not in CONSEQUENCES] or failures
    issues = tuple(issue for index, error in causes for issue in _placed(error, f"{at}.{index}"))
    raise ObjectQLError.from_info(msgspec.structs.replace(causes[0][1], issues=issues))


def _placed(error: ErrorInfo, place: str) -> tuple[Issue, ...]:
    if not error.issues:
        return (Issue(path=place, code=error.code, message=error.message),)
    return tuple(
        msgspec.structs.replace(issue, path=f"{place}.{issue.path}" if issue.path else place)
        for issue in error.issues
    )


def row_error(error: ErrorInfo) -> dict[str, Any]:
    """What is told of a row that failed while others did not."""
    return {"code": error.code, "message": error.message, "errors": error.issues}
