"""The kernel's log as a person at `objectql dev` wants to read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from objectql.cli.problems import problem_lines
from objectql.errors import Issue, plural

_UNTIL_FIXED = "the last good version stays in force"
_NO_FACTS = frozenset({"ts", "level", "event", "service", "instance", "stack", "logger"})


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
        for line in whole.splitlines():
            try:
                record = msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError:
                yield line.decode(errors="replace")  # not from the logger: a crash, say
            else:
                yield from self._told(record)

    def _told(self, record: dict[str, Any]) -> Iterator[str]:
        match record.get("event"):
            case "metadata_problems" | "metadata_not_reloaded":
                issues = msgspec.convert(record["issues"], list[Issue])
                yield from problem_lines([self._folder], issues)
                yield f"{plural(len(issues), 'problem')}; {_UNTIL_FIXED}"
            case "metadata_reloaded":
                yield from self._reloaded(record)
            case "schema_change_refused" if record["change"] not in self._refused:
                self._refused.add(record["change"])
                yield f"left undone, because data would be lost: {record['change']}"
            case event if record.get("level") == "error":
                facts = [f"{k}={v}" for k, v in record.items() if k not in _NO_FACTS]
                yield " ".join([f"error: {event}", *facts])
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
