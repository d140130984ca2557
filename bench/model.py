"""What is kept of a measurement: the rounds, never only their medians."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

import msgspec

from bench.figures import median, order, ratios

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PACKAGES = ("asyncpg", "fastapi", "msgspec", "nats-py", "uvicorn", "uvloop")

METHOD = (
    "The contestants take turns within one run, each warmed up before; figures are medians of the "
    "rounds, ratios are medians of the rounds' ratios. Parts that wait for nothing are "
    "measured in processor time. Absolute times move with what else the machine does: the "
    "load is its average over one minute before the start."
)


class Part(msgspec.Struct):
    """One part, in seconds per call; `naive_s` is empty where nothing is replaced."""

    name: str
    goal_s: float | None = None
    ours_s: list[float] = []
    naive_s: list[float] = []

    @property
    def factor(self) -> float | None:
        """How many times slower the naive way is."""
        return median(self.naive_s) / median(self.ours_s) if self.naive_s else None


class Side(msgspec.Struct):
    """One contestant's rounds. `busy` is the share of one core that each of its processes took."""

    rate: list[float] = []
    p50_ms: list[float] = []
    p99_ms: list[float] = []
    cpu_s: list[float] = []
    busy: dict[str, float] = {}


class Request(msgspec.Struct):
    """One kind of request; `goal` and `beyond` are ratios of rates."""

    name: str
    goal: float | None
    beyond: float | None
    ours: Side
    baseline: Side

    @property
    def ratios(self) -> list[float]:
        """Ours to the baseline's, round by round."""
        return ratios(self.ours.rate, self.baseline.rate)

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        return None if self.goal is None else median(self.ratios) >= self.goal


class Point(msgspec.Struct):
    """What a request costs at one size."""

    size: int
    rate: list[float] = []
    p50_ms: list[float] = []
    cpu_s: list[float] = []


class Curve(msgspec.Struct):
    """How the cost of a request grows; `limit` is the largest `order` that must be."""

    name: str
    unit: str
    limit: float
    points: list[Point] = []

    @property
    def order(self) -> float:
        """See `figures.order`; of processor time per request."""
        sizes = [point.size for point in self.points]
        return order(sizes, [median(point.cpu_s) for point in self.points])


class Process(msgspec.Struct):
    """Memory of one process in MB: resident, and the share of it that is its own (PSS)."""

    name: str
    when: str
    rss_mb: float
    pss_mb: float


class Machine(msgspec.Struct):
    """What it ran on, and how busy that was."""

    cores: int
    cpu: str
    system: str
    python: str
    load: float
    commit: str
    packages: dict[str, str]

    @classmethod
    def here(cls) -> Machine:
        return cls(
            cores=os.cpu_count() or 1,
            cpu=_cpu(),
            system=platform.platform(),
            python=platform.python_version(),
            load=round(os.getloadavg()[0], 2),
            commit=_commit(),
            packages={name: version(name) for name in PACKAGES},
        )


class Micro(msgspec.Struct):
    """`micro.json`."""

    machine: Machine
    date: str
    method: str
    rows: list[Part]


class Rest(msgspec.Struct):
    """`rest.json`."""

    machine: Machine
    date: str
    method: str
    rows: list[Request]
    memory: list[Process]


class Rules(msgspec.Struct):
    """`rules.json`: of each read with rules, and as its baseline the one without."""

    machine: Machine
    date: str
    method: str
    rows: list[Request]


class Growth(msgspec.Struct):
    """`growth.json`."""

    machine: Machine
    date: str
    method: str
    rows: list[Curve]


class Memory(msgspec.Struct):
    """`memory.json`: after each number of requests."""

    machine: Machine
    date: str
    method: str
    rows: list[Process]


Results: TypeAlias = Micro | Rest | Rules | Growth | Memory
Kept = TypeVar("Kept", bound=Results)


def now() -> str:
    """The moment of a measurement."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def path_of(folder: Path, kind: type[Results]) -> Path:
    """The file of one benchmark's results."""
    return folder / f"{kind.__name__.lower()}.json"


def save(folder: Path, results: Results) -> Path:
    """Write the results; the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(folder, type(results))
    path.write_bytes(
        msgspec.json.format(msgspec.json.encode(rounded(msgspec.to_builtins(results))), indent=1)
        + b"\n"
    )
    return path


def load(folder: Path, kind: type[Kept]) -> Kept | None:
    """Kept results; None where there are none."""
    path = path_of(folder, kind)
    return msgspec.json.decode(path.read_bytes(), type=kind) if path.exists() else None


def rounded(value: object) -> object:
    """`value` for JSON, floats with five significant digits: no clock here tells more."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, list):
        return [rounded(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in cast("dict[str, object]", value).items()}
    return value


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _commit() -> str:
    """The state of the code, with a mark where it is not committed."""
    command = ("git", "describe", "--always", "--dirty", "--abbrev=9", "--exclude=*")
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
