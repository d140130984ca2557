"""`make mutations ONLY=webhooks`: takes out one guard after the other, and looks which tests fail.

What is taken out of what stands in `mutations.toml`. It is done to a copy of the tree, so that
neither an editor nor another run of the tests ever sees it. A guard whose tests pass without it is
not proved by them, and the run ends with its name.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path(__file__).resolve().parents[2]
CATALOGUE: Final = Path(__file__).with_name("mutations.toml")

_LIBRARY: Final = Path("libs/objectql-core")
_AT_ROOT: Final = ("services/", "tests/", "libs/")
_FAILED: Final = 1
"""What pytest ends with where tests ran and some failed; other failures are mistakes of the list."""

_TIMEOUT_S: Final = 300
_ALL_TIMEOUT_S: Final = 1800
"""Of the tests of one guard, and of all of them with every guard in its place."""


class Mutation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """See the head of `mutations.toml`."""

    section: str
    guard: str
    taken_out: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def name(self) -> str:
        """How a run and a failed test call it."""
        return f"{self.section}: {self.guard}: {self.taken_out}"

    @property
    def path(self) -> Path:
        """Its file, from the root of the workspace."""
        return _placed(self.file, "src/objectql")

    @property
    def nodes(self) -> tuple[str, ...]:
        """Its tests as pytest takes them at the root."""
        return tuple(str(_placed(test, "tests")) for test in self.tests)

    @property
    def test_names(self) -> tuple[str, ...]:
        """The functions that fail, without parameters."""
        return tuple(dict.fromkeys(t.rpartition("::")[2].partition("[")[0] for t in self.tests))


class _Catalogue(msgspec.Struct, forbid_unknown_fields=True):
    mutation: tuple[Mutation, ...]


def _placed(path: str, below: str) -> Path:
    return Path(path) if path.startswith(_AT_ROOT) else _LIBRARY / below / path


def mutations() -> tuple[Mutation, ...]:
    """The list, in its order."""
    return msgspec.toml.decode(CATALOGUE.read_bytes(), type=_Catalogue).mutation


def sections() -> tuple[str, ...]:
    """Their names, in the order of the list."""
    return tuple(dict.fromkeys(mutation.section for mutation in mutations()))


def table(section: str) -> str:
    """The mutations of a section as a table of README.md."""
    rows = ["| guard | taken out | fails |", "|---|---|---|"]
    for mutation in mutations():
        if mutation.section == section:
            fails = ", ".join(f"`{name}`" for name in mutation.test_names)
            rows.append(f"| {mutation.guard} | {mutation.taken_out} | {fails} |")
    return "\n".join(rows) + "\n"


# --- the run ---


def _copy(to: Path) -> None:
    """What is committed or new in the tree, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


def _pytest(
    tree: Path, nodes: Sequence[str], *options: str, timeout_s: int = _TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    sources = [tree, *sorted(tree.glob("libs/*/src")), *sorted(tree.glob("services/*/src"))]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sources))}
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider"]
    return subprocess.run(
        [*command, *options, *nodes],
        cwd=tree, env=env, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip


def _unproved(tree: Path, mutation: Mutation) -> Iterator[str]:
    """The tests that do not notice."""
    path = tree / mutation.path
    text = path.read_text()
    path.write_text(text.replace(mutation.old, mutation.new))
    try:
        for node in mutation.nodes:
            done = _pytest(tree, [node], "-x")
            if done.returncode != _FAILED:
                yield f"{node}: pytest ended with {done.returncode}\n{(done.stdout + done.stderr)[-600:]}"
    finally:
        path.write_text(text)


def main() -> int:
    """Take out the guards that are asked for; 1 when some test does not notice."""
    parser = argparse.ArgumentParser(prog="make mutations")
    parser.add_argument("--only", default="", help="those whose name contains this")
    options = parser.parse_args()
    chosen = [mutation for mutation in mutations() if options.only in mutation.name]
    missed = 0
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        tree = Path(folder)
        _copy(tree)
        nodes = dict.fromkeys(node for mutation in chosen for node in mutation.nodes)
        before = _pytest(tree, list(nodes), timeout_s=_ALL_TIMEOUT_S)
        if before.returncode:
            sys.stdout.write(
                f"with every guard in its place:\n{(before.stdout + before.stderr)[-3000:]}"
            )
            return 1
        for mutation in chosen:
            unproved = list(_unproved(tree, mutation))
            missed += bool(unproved)
            sys.stdout.write(f"{'MISSED' if unproved else 'caught'} {mutation.name}\n")
            sys.stdout.writelines(f"    {line}\n" for line in unproved)
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - missed} of {len(chosen)} caught\n")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
