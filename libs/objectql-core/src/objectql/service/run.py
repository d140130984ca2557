"""The life of a service process, so that its `__main__` is one call.

`run_service(KernelSettings, build)` reads the settings, starts logs, the bus and the admin server,
lets `build` wire the service, and then waits for SIGTERM or SIGINT: not ready, drain, stop, exit.
An operator's command (`service.commands`) has it drain too; it then stays, without work and not
ready, so that nothing starts it again before whoever wants its machine has ended it.
Nothing that is down at the start ends the process: it is live, not ready, and keeps trying.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import msgspec
import uvloop

from objectql.bus.nats import Login, NatsBus
from objectql.clock import Clock, SystemClock
from objectql.errors import Unavailable
from objectql.service.commands import DRAIN, Commands
from objectql.service.health import Health, Page, PageServer, Route
from objectql.service.settings import (
    BusSettings,
    ServiceSettings,
    SettingsInvalid,
    instance_name,
    load_settings,
    redacted,
    require_context_key,
)
from objectql.service.telemetry import Metrics, configure_logs
from objectql.wire import codec, subjects
from objectql.wire.messages import Heartbeat
from objectql.wire.trust import ContextKeys

S = TypeVar("S", bound=ServiceSettings)

log = logging.getLogger(__name__)

EXIT_OK, EXIT_CRASH, EXIT_SETTINGS, EXIT_CUT = 0, 1, 2, 3
"""Stopped as asked · a bug · the settings are wrong · stopped with requests still in flight."""

HEARTBEAT_S = 1.0

YOUNG_OBJECTS = 20_000
"""So many more objects are made than freed before the collector looks at the new ones: a few
megabytes, and more than a busy process has in requests under way."""

Step: TypeAlias = Callable[[], Awaitable[None]]


class Process(Generic[S]):
    """What `build` gets: the parts every service has, and places to hang its own ones on."""

    def __init__(self, settings: S, *, clock: Clock | None = None) -> None:
        self.settings = settings
        self.service = settings.service
        self.instance = instance_name(settings)
        self.version = _package_version()
        self.clock = clock or SystemClock()
        self.metrics = Metrics()
        self.health = Health()
        self.bus = NatsBus(
            _login(settings.bus),
            name=self.instance,
            inbox=subjects.inbox(self.service),
        )
        keys = settings.bus.context_key
        self.context_keys = ContextKeys(keys) if keys else None
        """What requests on the bus are signed with; None only where the bus is on this machine."""
        self.address = ""
        self.load: Callable[[], float] = lambda: 0.0
        self.metadata_version: Callable[[], int] = lambda: 0
        self.details: Callable[[], dict[str, Any]] = dict[str, Any]
        self.pages: dict[str, Route] = {
            "/live": self.health.live_page,
            "/ready": self.health.ready_page,
            "/metrics": self._metrics_page,
        }
        """What the admin port serves; a service may add pages before it starts to wait."""
        self._drains: list[Step] = []
        self._stops: list[Step] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._crash: BaseException | None = None
        self._stopping = asyncio.Event()
        self._leaving = asyncio.Event()
        self._is_drained = False
        self.started_ms = self.clock.now_ms()
        self.health.add_check("stopping", lambda: self._status() if self.is_stopping else None)
        self.health.add_check("bus", lambda: None if self.bus.is_connected else "not connected")
        self.metrics.read("oql_bus_connected", lambda: float(self.bus.is_connected))
        self.metrics.read("oql_ready", lambda: float(self.health.is_ready))

    @property
    def is_stopping(self) -> bool:
        """Whether it takes no more work."""
        return self._stopping.is_set()

    @property
    def is_leaving(self) -> bool:
        """Whether it ends as soon as it has nothing left."""
        return self._leaving.is_set()

    def on_drain(self, step: Step) -> None:
        """Run `step` first when stopping: take no more work, finish what is in flight."""
        self._drains.append(step)

    def on_stop(self, step: Step) -> None:
        """Run `step` after the drain; the last one added runs first."""
        self._stops.append(step)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` until the process stops; if it fails, the process ends as crashed."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def keep_trying(self, name: str, connect: Step, *, pause_s: float = 1.0) -> None:
        """Run `connect` until it succeeds; until then the check `name` says why not."""
        reason: list[str | None] = ["starting"]
        self.health.add_check(name, lambda: reason[0])

        async def attempt() -> None:
            while True:
                try:
                    await connect()
                except Exception as exc:  # noqa: BLE001 - whatever a dependency that is down raises
                    reason[0] = f"{type(exc).__name__}: {exc}"
                    log.warning("dependency_down", extra={"dependency": name, "reason": reason[0]})
                    await self.clock.sleep(pause_s * (0.5 + random.random() / 2))  # noqa: S311
                else:
                    reason[0] = None
                    settle_memory()
                    log.info("dependency_up", extra={"dependency": name})
                    return

        self.start(attempt())

    def stop(self) -> None:
        """Ask the process to end, as SIGTERM does."""
        self._leaving.set()
        self._stopping.set()

    def drain(self) -> None:
        """Ask the process to end all work, and to stay until it is to stop."""
        self._stopping.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash = self._crash or error
            log.error("task_crashed", exc_info=error)
            self.stop()

    # --- the run -------------------------------------------------------------------------

    async def live(self, build: Callable[[Process[S]], Awaitable[None]]) -> int:
        """Run until asked to stop; the exit code."""
        admin = PageServer(self.pages)
        await admin.start(self.settings.admin.host, self.settings.admin.port)
        await self.bus.start()
        commands = Commands({DRAIN: self.drain}, self.clock, self.context_keys)
        await self.bus.subscribe(subjects.command(self.service, self.instance, "*"), commands.hear)
        if self.context_keys is None:
            log.warning("requests_not_signed", extra={"setting": "BUS__CONTEXT_KEY"})
        log.info("service_starting", extra={"admin_port": admin.port, "version": self.version})
        try:
            await build(self)
            settle_memory()
            self.start(self._beat())
            await self._stopping.wait()
            log.info("service_stopping")
            was_drained = await self._drain()
            if not self._leaving.is_set():
                await self._idle()
        finally:
            self._stopping.set()
            await self._end_work()
            await self.bus.close()
            await admin.close()
        if self._crash is not None:
            return EXIT_CRASH
        log.info("service_stopped", extra={"was_drained": was_drained})
        return EXIT_OK if was_drained else EXIT_CUT

    async def _drain(self) -> bool:
        with suppress(Unavailable):
            await self._send_heartbeat()
        try:
            async with asyncio.timeout(self.settings.drain_s):
                await asyncio.gather(*(step() for step in self._drains))
        except TimeoutError:
            return False
        return True

    async def _idle(self) -> None:
        """Have nothing, and say so, until asked to end."""
        await self._end_work()
        self._is_drained = True
        log.info("service_drained")
        self.start(self._beat())
        await self._leaving.wait()

    async def _end_work(self) -> None:
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        while self._stops:
            await self._stops.pop()()

    async def _metrics_page(self) -> Page:  # noqa: RUF029 - a route is a coroutine
        return Page(200, self.metrics.exposition(), "text/plain; version=0.0.4; charset=utf-8")

    # --- heartbeats ----------------------------------------------------------------------

    def _status(self) -> Literal["starting", "ready", "draining", "drained"]:
        if self.is_stopping:
            return "drained" if self._is_drained else "draining"
        return "ready" if self.health.is_ready else "starting"

    def heartbeat(self) -> Heartbeat:
        """What this process says about itself now. What is drained has no details any more."""
        return Heartbeat(
            service=self.service,
            instance=self.instance,
            version=self.version,
            started_ms=self.started_ms,
            sent_ms=self.clock.now_ms(),
            status=self._status(),
            address=self.address,
            metadata_version=self.metadata_version(),
            load=self.load(),
            details={} if self._is_drained else self.details(),
        )

    async def _beat(self) -> None:
        while True:
            with suppress(Unavailable):  # heard again when the bus is back
                await self._send_heartbeat()
            await self.clock.sleep(HEARTBEAT_S)

    async def _send_heartbeat(self) -> None:
        subject = subjects.heartbeat(self.service, self.instance)
        await self.bus.publish(subject, codec.encode(self.heartbeat()))


def settle_memory() -> None:
    """Spare the garbage collector what lives as long as the process, and call it less often.

    It walks through all objects again and again for cycles, of which requests leave hardly any:
    12 % of a gateway's processor time with Python's defaults.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])


Build: TypeAlias = Callable[[Process[S]], Awaitable[None]]


def run_service(settings_type: type[S], build: Build[S], argv: list[str] | None = None) -> int:
    """Run the service that `build` wires; the exit code. `--check-config` only reads the settings."""
    parser = argparse.ArgumentParser(prog=f"objectql {settings_type.service}")
    parser.add_argument(
        "--check-config", action="store_true", help="print the settings without secrets, and exit"
    )
    options = parser.parse_args(argv)
    try:
        settings = load_settings(settings_type, settings_type.prefix())
        require_context_key(settings)
    except SettingsInvalid as exc:
        sys.stderr.write(f"{exc}\n")
        return EXIT_SETTINGS
    if options.check_config:
        text = msgspec.json.format(msgspec.json.encode(redacted(settings)), indent=2)
        sys.stdout.write(text.decode() + "\n")
        return EXIT_OK
    configure_logs(settings.log, service=settings.service, instance=instance_name(settings))

    async def main() -> int:
        process = Process(settings)
        _watch_signals(process)
        return await process.live(build)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(main())
        except Exception:  # the outermost frame of the process: the log is all there is
            log.exception("service_crashed")
            return EXIT_CRASH


def _login(bus: BusSettings) -> Login:
    return Login(
        servers=bus.url,
        user=bus.user,
        password=bus.password,
        credentials=bus.credentials,
        ca=bus.ca,
        certificate=bus.certificate,
        key=bus.key,
    )


def _watch_signals(process: Process[Any]) -> None:
    def asked() -> None:
        if process.is_leaving:  # asked again: do not wait for the drain
            os._exit(EXIT_CUT)
        process.stop()

    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, asked)


def _package_version() -> str:
    try:
        return version("objectql-core")
    except PackageNotFoundError:  # run from a source tree
        return "0.0.0"
