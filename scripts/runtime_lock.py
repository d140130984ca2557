"""Prints the part of requirements.lock that some members or packages need, with its hashes: for the images.

    python runtime_lock.py requirements.lock objectql-core objectql-kernel     # what two members need
    python runtime_lock.py requirements.lock uv-build                          # a package of the lock itself

The lock says of every package who asked for it (`# via`); a package is needed if one that is needed asked for
it. Too much may be kept (an extra that only a tool asks for), never too little: an install with
`--require-hashes` would fail. Uses the standard library only, as it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PIN = re.compile(r"([a-z0-9-]+)==")
_ASKED = re.compile(r"\s+#(?: via)?\s+(\S+)$")


@dataclass(frozen=True)
class Pin:
    """One package of a lock: its lines, and the names of those that asked for it."""

    name: str
    text: str
    via: frozenset[str]


def pins_of(lock: str) -> list[Pin]:
    """The packages of a lock, in its order.

    Raises:
        ValueError: A line pins no version.
    """
    pins: list[Pin] = []
    for block in re.split(r"^(?=[^\s#])", lock, flags=re.MULTILINE)[1:]:
        pin = _PIN.match(block)
        if pin is None:
            raise ValueError(f"no pinned version: {block.splitlines()[0]}")
        asked = [found[1] for line in block.splitlines() if (found := _ASKED.match(line))]
        pins.append(Pin(pin[1], block, frozenset(asked)))
    return pins


def needed_by(names: Iterable[str], pins: list[Pin]) -> list[Pin]:
    """What members or packages need, directly or not, and those packages themselves.

    Raises:
        ValueError: The lock does not know one of them.
    """
    needed = set(names)
    if unknown := needed.difference(*(pin.via | {pin.name} for pin in pins)):
        raise ValueError(f"not in the lock: {', '.join(sorted(unknown))}")
    while found := {pin.name for pin in pins if pin.via & needed} - needed:
        needed |= found
    return [pin for pin in pins if pin.name in needed]


def main(lock: str, *names: str) -> None:
    """Print the part of the file `lock` that `names` need."""
    for pin in needed_by(names, pins_of(Path(lock).read_text())):
        print(pin.text, end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
