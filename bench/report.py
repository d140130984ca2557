"""Tables in aligned Markdown, and results as JSON with the machine and the method beside them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

METHOD = (
    "The contestants take turns within one run, each warmed up before; figures are medians of the "
    "rounds, ratios are of those medians. Parts that wait for nothing are "
    "measured in processor time. Absolute times move with what else the machine does: the "
    "load is its average over one minute."
)


@dataclass(frozen=True)
class Machine:
    """What it ran on, and how busy that was."""

    cores: int
    cpu: str
    system: str
    python: str
    load: float
    packages: dict[str, str]

    @classmethod
    def here(cls) -> Machine:
        names = ("asyncpg", "fastapi", "msgspec", "nats-py", "uvicorn", "uvloop")
        return cls(
            cores=os.cpu_count() or 1,
            cpu=_cpu(),
            system=platform.platform(),
            python=platform.python_version(),
            load=round(os.getloadavg()[0], 2),
            packages={name: version(name) for name in names},
        )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return (
            "| " + " | ".join([first[0].ljust(first[1]), *(c.rjust(w) for c, w in others)]) + " |"
        )

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), line(rule), *(line(row) for row in rows)])


def duration(seconds: float) -> str:
    """With the unit that leaves one to four digits before the point."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:,.2f} µs"
    return f"{seconds * 1e3:,.2f} ms"


def save(folder: Path, name: str, rows: Sequence[object], machine: Machine) -> Path:
    """Write `name`.json; the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    content = {
        "benchmark": name,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": vars(machine),
        "method": METHOD,
        "rows": rows,
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return path
