"""`objectql can`: whether somebody may do something, and why, as the gateway decides it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from objectql.cli.problems import refusal


def explain_access(
    url: str,
    token: str,
    question: Mapping[str, Any],
) -> dict[str, Any]:
    """The decision: `allowed`, and `because` with its reasons in order.

    Raises:
        ValueError: the gateway at `url` refuses the question, cannot be reached, or is none.

    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f'"{url}" is not the URL of a gateway')
    given = {name: value for name, value in question.items() if value is not None}
    request = Request(  # noqa: S310 - checked above
        f"{url.rstrip('/')}/api/meta/permissions/explain",
        data=json.dumps(given).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with urlopen(request, timeout=60) as answer:  # noqa: S310 - checked above
            return json.load(answer)
    except HTTPError as exc:
        raise ValueError(refusal(exc)) from exc
    except URLError as exc:
        raise ValueError(f"{url} cannot be reached: {exc.reason}") from exc


def decision_lines(decision: Mapping[str, Any]) -> Sequence[str]:
    """The decision for people."""
    lines = ["yes" if decision["allowed"] else "no"]
    lines += [f"  {reason}" for reason in decision["because"]]
    if "records" in decision:
        lines.append(f"  records: {json.dumps(decision['records'])}")
    return lines
