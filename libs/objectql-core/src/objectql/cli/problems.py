"""Metadata problems as lines that editors can jump to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from objectql.errors import Issue


def problem_lines(roots: Sequence[Path], issues: Iterable[Issue]) -> list[str]:
    """One `file:line:column: path: message [CODE]` per issue, in the order of the files.

    `roots` are the folders that the files of the issues lie in.
    """
    ordered = sorted(issues, key=lambda issue: (issue.file or "", issue.line or 0, issue.path))
    return [f"{_place(roots, issue)}: {_text(issue)} [{issue.code}]" for issue in ordered]


def _place(roots: Sequence[Path], issue: Issue) -> str:
    if issue.file is None:
        return ", ".join(map(str, roots))
    found = [root / issue.file for root in roots if (root / issue.file).exists()]
    parts = [str(found[0]) if found else issue.file]
    parts += [str(number) for number in (issue.line, issue.column) if number is not None]
    return ":".join(parts)


def _text(issue: Issue) -> str:
    return f"{issue.path}: {issue.message}" if issue.path else issue.message
