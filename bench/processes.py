"""Processor time and memory of processes, from /proc; Linux only."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_KB_PER_MB = 1024


def cpu_s(root: int) -> float:
    """Seconds in user and kernel mode of a process, its children of now and those that ended."""
    ticks = 0
    for pid in family(root):
        fields = _stat(pid)
        if fields is not None:
            ticks += sum(int(field) for field in fields[11 : 15 if pid == root else 13])
    return ticks / _TICKS_PER_S


def cpu_of(roots: Mapping[str, int]) -> dict[str, float]:
    """`cpu_s` of each process by name."""
    return {name: cpu_s(pid) for name, pid in roots.items()}


def children_cpu_s() -> float:
    """Seconds of all ended children of this process: wrk's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def memory_mb(root: int) -> tuple[float, float]:
    """RSS and PSS of a process with its children.

    RSS counts a page once for each process that maps it, PSS divides it among them: for Postgres,
    whose processes share their buffers, only PSS may be added up.
    """
    found = [_memory_kb(pid) for pid in family(root)]
    return (sum(rss for rss, _ in found) / _KB_PER_MB, sum(pss for _, pss in found) / _KB_PER_MB)


def family(root: int) -> list[int]:
    """`root` and its children of now."""
    found = [root]
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            fields = _stat(int(entry.name))
            if fields is not None and int(fields[1]) == root:
                found.append(int(entry.name))
    return found


def _memory_kb(pid: int) -> tuple[int, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    values = {key: rest.split()[0] for key, _, rest in (line.partition(":") for line in lines[1:])}
    return int(values.get("Rss", 0)), int(values.get("Pss", 0))


def _stat(pid: int) -> list[str] | None:
    """The fields after the command, from the state on; None when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
