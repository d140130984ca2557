"""Load from wrk, and what it measured."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from typing import NamedTuple

CONNECTIONS = 32


class Answer(NamedTuple):
    """One round."""

    rate: float
    p50_ms: float
    p99_ms: float
    requests: int


def script(method: str, path: str, body: str = "nil", headers: str = "") -> str:
    """A wrk script: `path` and `body` are Lua expressions evaluated for each request."""
    return f"""
        math.randomseed(os.time())
        request = function()
            local headers = {{ {headers} }}
            headers["Content-Type"] = "application/json"
            return wrk.format("{method}", {path}, headers, {body})
        end
    """


def mixed(scripts: dict[str, int]) -> str:
    """A wrk script that takes each of `scripts` as often, in turn, as its number says."""
    turns = [at for at, times in enumerate(scripts.values(), 1) for _ in range(times)]
    made = "\n".join(f"do {text}\n asks[{at}] = request end" for at, text in enumerate(scripts, 1))
    return f"""
        local asks, turns, n = {{}}, {{ {", ".join(map(str, turns))} }}, 0
        {made}
        request = function()
            n = n + 1
            return asks[turns[n % #turns + 1]]()
        end
    """


_LONGEST_S = 16


def ask(url: str, lua: str, seconds: int, connections: int = CONNECTIONS) -> Answer:
    """Ask for so long; for longer where nothing was answered meanwhile, up to 16 s.

    Raises:
        RuntimeError: an answer was an error, or there was none: the figure would mean nothing.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(lua)
        file.flush()
        command = [
            *("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "--latency"),
            *("-s", file.name, url),
        ]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    requests = re.search(r"(\d+) requests in", text)
    if "Non-2xx" in text or "Socket errors" in text or not (rate and requests):
        raise RuntimeError(f"errors from {url}:\n{text}\n{lua}")
    if requests[1] == "0":
        if seconds < _LONGEST_S:
            return ask(url, lua, 2 * seconds, connections)
        raise RuntimeError(f"no answer from {url} within {seconds} s:\n{lua}")
    return Answer(float(rate[1]), _percentile(text, 50), _percentile(text, 99), int(requests[1]))


def require() -> None:
    """Stop where wrk is missing."""
    if shutil.which("wrk") is None:
        raise SystemExit("the benchmark needs wrk: scripts/setup.sh wrk")


def _percentile(text: str, percent: int) -> float:
    """In milliseconds.

    Raises:
        RuntimeError: there were no requests.
    """
    found = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)", text)
    if found is None:
        raise RuntimeError(f"no latencies:\n{text}")
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]
