"""The kernel's log as a person at `objectql dev` wants to read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from objectql.cli.problems import problem_lines
from objectql.errors import Issue, plural
from objectql_devstack.log_lines import facts_of, record_of

_UNTIL_FIXED = "the last good version stays in force"


class DevLog:
    """What is appended to a log of JSON lines from now on, in words.

    `folder` is where the files of problems lie. Lines about anything but metadata are shown only
    when they are errors.
    """

    def __init__(self, file: Path, folder: Path) -> None:
        self._file = file
        self._folder = folder
        self._position = file.stat().st_size if file.exists() else 0
        self._refused: set[str] = set()

    def lines(self) -> Iterator[str]:
        """The words for what is new; a line that is still being written waits."""
        if not self._file.exists():
            return
        with self._file.open("rb") as log:
            log.seek(self._position)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._position += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            record = record_of(line)
            if record is None:
                yield line  # not from the logger: a crash, or a `print`
            else:
                yield from self._told(record)

    def _told(self, record: dict[str, Any]) -> Iterator[str]:
        match record.get("event"):
            case "metadata_problems":
                issues = msgspec.convert(record["issues"], list[Issue])
                yield from problem_lines([self._folder], issues)
                yield f"{plural(len(issues), 'problem')}; {_UNTIL_FIXED}"
            case "seed_refused":
                issues = msgspec.convert(record["issues"], list[Issue])
                yield "a record of the data files was refused:"
                yield from (f"  {issue}" for issue in issues)
            case "metadata_reloaded":
                yield from self._reloaded(record)
            case "schema_change_refused" if record["change"] not in self._refused:
                self._refused.add(record["change"])
                yield f"left undone, because data would be lost: {record['change']}"
            case _ if record.get("level") == "error":
                yield f"error: {facts_of(record)}"
                yield from str(record.get("stack", "")).splitlines()
            case _:
                return

    def _reloaded(self, record: dict[str, Any]) -> Iterator[str]:
        yield f"reloaded: {plural(len(record['changes']), 'change')}"
        yield from (f"  {change}" for change in record["changes"])
        yield from (f"  in the database: {step}" for step in record["schema"])
        if record["functions"]:
            yield f"  {plural(record['functions'], 'function')} of hooks and actions loaded"
        if record["seeded"]:
            yield f"  {plural(record['seeded'], 'record')} inserted from data files"
