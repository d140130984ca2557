"""`objectql can`: whether somebody may do something, and why, as the gateway decides it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from objectql.cli.requests import send


def explain_access(url: str, token: str, question: Mapping[str, Any]) -> dict[str, Any]:
    """The decision: `allowed`, and `because` with its reasons in order.

    Raises:
        Refused: the gateway at `url` refuses the question, cannot be reached, or is none.

    """
    given = {name: value for name, value in question.items() if value is not None}
    return send(url, token, "POST", "/api/meta/permissions/explain", given)


def decision_lines(decision: Mapping[str, Any]) -> Sequence[str]:
    """The decision for people."""
    lines = ["yes" if decision["allowed"] else "no"]
    lines += [f"  {reason}" for reason in decision["because"]]
    if "records" in decision:
        lines.append(f"  records: {json.dumps(decision['records'])}")
    return lines
