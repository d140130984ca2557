"""Processor time of processes, from /proc; Linux only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pids: Iterable[int]) -> float:
    """Seconds in user and kernel mode, of those processes that are still there."""
    ticks = 0
    for pid in pids:
        fields = _stat(pid)
        if fields is not None:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_S


def tree(root: int) -> Callable[[], list[int]]:
    """A function that answers `root` and its children of now."""

    def pids() -> list[int]:
        found = [root]
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                fields = _stat(int(entry.name))
                if fields is not None and int(fields[1]) == root:
                    found.append(int(entry.name))
        return found

    return pids


def _stat(pid: int) -> list[str] | None:
    """The fields after the command, from the state on; None when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
