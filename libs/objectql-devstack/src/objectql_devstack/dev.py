"""`objectql dev DIR`: the smallest cluster on a directory of metadata, reloaded on every save.

NATS, Postgres, one kernel and one REST gateway, as real processes that end with this command. Their
data, logs and addresses lie in `DIR/.objectql`, so that the records are there again the next time.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer
from watchfiles import watch

from objectql.cli.problems import problem_lines
from objectql.errors import MetadataInvalid, plural
from objectql.kernel.reload import check_applications
from objectql.metadata.registry import MetadataSnapshot
from objectql_devstack.cluster import Cluster
from objectql_devstack.dev_log import DevLog
from objectql_devstack.environment import port_setting
from objectql_devstack.errors import DevStackError
from objectql_devstack.ports import is_free
from objectql_devstack.services import SERVICES, PublicPort, Service

_NEED = frozenset({"nats", "postgres"})
_RUNS = ("kernel", "gateway-rest")
_POLL_S = 0.1
_LOOK_AT_PROCESSES_EVERY_S = 1.0


def dev(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", exists=True, file_okay=False, help="Folder of metadata files."
        ),
    ],
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help="REST port. Default: OQL_REST_PORT or 8080, another if that is taken.",
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin without the records of earlier runs.")
    ] = False,
) -> None:
    """Run the smallest cluster on DIR and reload it on every save, until Ctrl-C.

    Records and logs are kept in DIR/.objectql.
    """
    try:
        with _ended_by_signals():
            snapshot = _valid_metadata(directory)
            _run(directory, snapshot, port=port, fresh=fresh)
    except KeyboardInterrupt:
        _say("stopped")
    except DevStackError as error:
        for line in [str(error), *getattr(error, "__notes__", [])]:
            typer.echo(line, err=True)
        raise typer.Exit(1) from error


def _run(directory: Path, snapshot: MetadataSnapshot, *, port: int | None, fresh: bool) -> None:
    ports, services = _services(port)
    root = directory.resolve()
    cluster = Cluster(
        root,
        ports=ports,
        kernels=1,
        metadata=[root],
        tethered=True,
        need=_NEED,
        services=services,
        extra_env={"kernel": {"OQL_KERNEL_WATCH": "true"}},
    )
    if any(row.condition != "dead" for row in cluster.status()):
        raise DevStackError(f"a cluster runs in {directory} already: stop it first")
    (cluster.state.path / ".gitignore").write_text("*\n")
    if fresh:
        cluster.stop(purge=True)
    log = DevLog(cluster.state.logs / "kernel-1.log", directory)
    _say("starting NATS, Postgres, a kernel and the REST gateway ...")
    try:
        cluster.start()
        _say_ready(cluster, snapshot)
        _follow(cluster, log)
    finally:
        cluster.stop()


def _follow(cluster: Cluster, log: DevLog) -> None:
    """Print what the kernel logs about the metadata, for as long as all processes live."""
    looked_at = time.monotonic()
    while True:
        for line in log.lines():
            _say(line)
        if time.monotonic() - looked_at > _LOOK_AT_PROCESSES_EVERY_S:
            looked_at = time.monotonic()
            if ended := cluster.ended():
                raise DevStackError(f"{', '.join(ended)} ended; see {cluster.state.logs}")
        time.sleep(_POLL_S)


def _valid_metadata(directory: Path) -> MetadataSnapshot:
    """The metadata once they are right; until then every problem is printed after every save."""
    shown: list[str] = []
    for _ in _saves(directory):
        try:
            return check_applications([directory.resolve()])
        except MetadataInvalid as exc:
            lines = problem_lines([directory], exc.issues)
            if lines != shown:
                shown = lines
                for line in lines:
                    _say(line)
                _say(f"{plural(len(lines), 'problem')}; waiting for a save")
    raise AssertionError("watching has no end")


def _saves(directory: Path) -> Iterator[None]:
    """At once, and then after every change in `directory`."""
    yield
    for _ in watch(directory, raise_interrupt=True, debounce=200):
        yield


def _services(port: int | None) -> tuple[Literal["free", "preferred"], list[Service]]:
    """How ports are chosen, and what runs: on `port` or not at all, or else where there is room."""
    rows = [row for row in SERVICES if row.name in _RUNS]
    if port is not None:
        return "preferred", [_on_port(row, port) for row in rows]
    taken = any(
        not is_free(port_setting(row.public.variable, row.public.default))
        for row in rows
        if row.public
    )
    return "free" if taken else "preferred", rows


def _on_port(row: Service, port: int) -> Service:
    if row.public is None:
        return row
    return replace(row, public=PublicPort("--port", port, row.public.address))


def _say_ready(cluster: Cluster, snapshot: MetadataSnapshot) -> None:
    url = cluster.env["OQL_REST_URL"]
    objects = [name for name, object_ in snapshot.objects.items() if object_.enable.api_enabled]
    _say(f"ready: {url}/api   documentation: {url}/docs")
    token = cluster.env["OQL_ADMIN_TOKEN"]
    path = f"/api/{objects[0]}" if objects else "/api/meta"
    _say(f"\ncurl -H 'Authorization: Bearer {token}' {url}{path}\n")
    _say(f"or: source {cluster.state.env_file}")
    _say("every save is reloaded; Ctrl-C stops")


def _say(line: str) -> None:
    typer.echo(line)


@contextmanager
def _ended_by_signals() -> Generator[None]:
    """Ctrl-C, SIGTERM and the end of the terminal all raise KeyboardInterrupt.

    Ctrl-C as well: a shell script that runs this in the background has it ignored otherwise.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
