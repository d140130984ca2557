"""`objectql-devstack`: what the Makefile runs."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from objectql_devstack.cluster import Cluster
from objectql_devstack.environment import count_setting, stack_mode
from objectql_devstack.errors import DevStackError
from objectql_devstack.log_lines import readable
from objectql_devstack.processes import tail
from objectql_devstack.services import examples_in

app = typer.Typer(help="Run ObjectQL on this machine.", no_args_is_help=True, add_completion=False)

Root = Annotated[Path, typer.Option(help="The project; state lies in its .objectql folder.")]
_HERE = Path()
_SECRET = ("OQL_ADMIN_TOKEN", "OQL_JWT_SECRET")


@contextmanager
def _told_plainly() -> Generator[None]:
    try:
        yield
    except DevStackError as error:
        for line in [str(error), *getattr(error, "__notes__", [])]:
            print(line, file=sys.stderr)
        raise typer.Exit(1) from error


def _say(line: str) -> None:
    print(line, flush=True)


@app.command()
def up(
    kernels: Annotated[int | None, typer.Option(min=1, help="By default KERNELS, or 2.")] = None,
    load: Annotated[bool, typer.Option(help="Load the examples.")] = True,
    root: Root = _HERE,
) -> None:
    """Start what does not run, wait until everything is ready, and print the addresses."""
    root = root.absolute()
    began = time.monotonic()
    with _told_plainly():
        examples = examples_in(root, stack_mode())
        cluster = Cluster(
            root,
            kernels=kernels or count_setting("KERNELS", 2),
            metadata=[example.folder(root) for example in examples],
            databases=("objectql", *(name for example in examples for name in example.databases)),
            loaders=[example.loader for example in examples if load and example.is_loaded],
            report=_say,
        ).start()
        _say(
            f"ready after {time.monotonic() - began:.1f} s; the following is in {cluster.state.env_file}"
        )
        for name, value in cluster.env.items():
            _say(f"  {name:<19} {value if name not in _SECRET else '(in the file)'}")


@app.command()
def down(
    purge: Annotated[bool, typer.Option(help="Remove the data too.")] = False,
    root: Root = _HERE,
) -> None:
    """Stop everything; data and logs stay."""
    with _told_plainly():
        stopped = Cluster(root).stop(purge=purge)
    _say(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def status(root: Root = _HERE) -> None:
    """Tell what runs; fails unless everything that was started is ready."""
    with _told_plainly():
        rows = Cluster(root).status()
    if not rows:
        _say("nothing is running")
        raise typer.Exit(1)
    for row in rows:
        _say(f"{row.name:<20} {row.condition:<9} pid {row.pid:<8} {row.port or ''}".rstrip())
    if any(row.condition != "ready" for row in rows):
        raise typer.Exit(1)


@app.command()
def logs(
    service: Annotated[str, typer.Argument(help="`kernel-1`, or `kernel` for all of them.")] = "",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until interrupted.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="As they were written, in JSON.")] = False,
    root: Root = _HERE,
) -> None:
    """Print the end of the logs, each line with the name of its process."""

    def show(file: Path, text: str) -> None:
        for line in text.splitlines():
            for part in [line] if raw else readable(line):
                _say(f"{file.stem:<{width}} | {part}")

    folder = Cluster(root).state.logs
    files = sorted(folder.glob(f"{service}*.log"))
    if not files:
        with _told_plainly():
            raise DevStackError(f"no log of {service or 'any process'} in {folder}")
    width = max(len(file.stem) for file in files)
    seen = {file: file.stat().st_size for file in files}
    for file in files:
        show(file, tail(file))
    for _ in itertools.repeat(None) if follow else ():
        for file in files:
            with file.open("rb") as log:
                log.seek(seen[file])
                lines = log.read()
            whole = lines[: lines.rfind(b"\n") + 1]
            seen[file] += len(whole)
            show(file, whole.decode(errors="replace"))
        time.sleep(0.2)


if __name__ == "__main__":
    app()
