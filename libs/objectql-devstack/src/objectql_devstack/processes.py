"""Processes that can be found again, by this program or by a later one, and never mistaken for others.

`run/<name>.pid` holds the process id alone, for people and scripts. Beside it `run/<name>.json` holds what
identifies the process: id *and* start time. Only that pair is trusted: a stale file, a recycled id or an
edited `.pid` never gets a stranger killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import psutil

from objectql_devstack.errors import ServerFailedError
from objectql_devstack.spawning import Launch, exit_code, spawn

# The start time is computed from the boot time, which moves a little when the clock is adjusted.
_START_TOLERANCE_S = 3.0
_POLL_S = 0.01
# Variable that every process started here carries, and its children inherit.
_MARK = "OBJECTQL_DEVSTACK_PROCESS"


class ProcessRecord(msgspec.Struct, frozen=True):
    """What is remembered of a started process.

    Attributes:
        created: Start time in Unix seconds, as psutil tells it.
        tier: The order of stopping; higher tiers stop first.
        fingerprint: Digest of the command and of the variables set for it.
        stop_signal: What asks this program to end in good order.
    """

    pid: int
    created: float
    tier: int
    fingerprint: str
    stop_signal: int


def fingerprint(command: tuple[str, ...], variables: dict[str, str]) -> str:
    """A digest that changes when a process would have to be started differently."""
    text = json.dumps([command, sorted(variables.items())])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identify(pid: int, created: float) -> psutil.Process | None:
    """The running process with this id and this start time; None if it ended or the id was recycled."""
    exit_code(pid)  # reaps it, if it was a child of ours
    try:
        process = psutil.Process(pid)
        # A dead leader whose other threads have not ended yet still holds its ports.
        if process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1:
            exit_code(pid)  # its last thread may have ended since we asked
            return None
        if abs(process.create_time() - created) > _START_TOLERANCE_S:
            return None
    except psutil.NoSuchProcess:
        return None
    return process


def wait_until(condition: Callable[[], bool], timeout_s: float, poll_s: float = _POLL_S) -> bool:
    """Whether `condition` came true within `timeout_s`; it is asked at least once."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return True


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log; empty if there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


class ManagedProcess:
    """One named process of a state directory, running or not.

    Args:
        name: `<service>-<n>`, unique in the directory.
        run: Folder of the `.pid` and `.json` files.
        log: File that receives its output.
        tethered: It dies with the process that started it.
    """

    def __init__(
        self,
        name: str,
        *,
        run: Path,
        log: Path,
        tier: int,
        tethered: bool,
        stop_signal: int = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = log
        self._pid_file = run / f"{name}.pid"
        self._record_file = run / f"{name}.json"
        self._mark = str(self._record_file.absolute())
        self._tier = tier
        self._tethered = tethered
        self._stop_signal = stop_signal

    @classmethod
    def recorded(cls, run: Path, logs: Path) -> list[tuple[ProcessRecord, ManagedProcess]]:
        """Every process that `run` remembers, alive or not."""
        found: list[tuple[ProcessRecord, ManagedProcess]] = []
        for path in sorted(run.glob("*.json")):
            process = cls(path.stem, run=run, log=logs / f"{path.stem}.log", tier=0, tethered=False)
            if record := process.record():
                found.append((record, process))
        return found

    def record(self) -> ProcessRecord | None:
        """What was remembered at the last start; None if nothing readable was."""
        try:
            return msgspec.json.decode(self._record_file.read_bytes(), type=ProcessRecord)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:
            # Written through a rename, so only a foreign hand can have damaged it: nothing to go by.
            self._forget()
            return None

    def process(self) -> psutil.Process | None:
        """The running process, if it runs."""
        record = self.record()
        return identify(record.pid, record.created) if record else None

    def is_alive(self) -> bool:
        """Whether it runs (or is frozen)."""
        return self.process() is not None

    def launch(self, launch: Launch, variables: dict[str, str]) -> None:
        """Start it; remnants of an earlier run are killed first.

        Args:
            launch: What to run.
            variables: The part of its environment that makes it what it is; see `fingerprint`.
        """
        self.kill()
        marked = replace(launch, environment={**launch.environment, _MARK: self._mark})
        pid = spawn(marked, self.log, tethered=self._tethered)
        try:
            created = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess as gone:
            raise self.failure("ended at once") from gone
        record = ProcessRecord(
            pid, created, self._tier, fingerprint(launch.command, variables), int(self._stop_signal)
        )
        _replace(self._record_file, msgspec.json.encode(record))
        _replace(self._pid_file, f"{pid}\n".encode())

    def matches(self, command: tuple[str, ...], variables: dict[str, str]) -> bool:
        """Whether it was last started with this command and these variables."""
        record = self.record()
        return record is not None and record.fingerprint == fingerprint(command, variables)

    def wait_ready(self, probe: Callable[[], bool], timeout_s: float) -> None:
        """Return once `probe` is true.

        Raises:
            ServerFailedError: It ended before that, or the time is over; the end of the log is quoted.
        """
        deadline = time.monotonic() + timeout_s
        record = self.record()
        while not probe():
            if not self.is_alive():
                code = exit_code(record.pid) if record else None
                raise self.failure(
                    "ended before it was ready"
                    + (f" (exit code {code})" if code is not None else "")
                )
            if time.monotonic() > deadline:
                raise self.failure(f"was not ready within {timeout_s:g} s")
            time.sleep(_POLL_S)
        if not self.is_alive():
            raise self.failure("ended, and somebody else answers on its port")

    def failure(self, reason: str) -> ServerFailedError:
        """An error that names this process, its log, and the end of the log."""
        return ServerFailedError(self.name, reason, log=self.log, tail=tail(self.log))

    def stop(self, timeout_s: float = 10.0) -> None:
        """End it in good order, by force after `timeout_s`; nothing happens where it does not run."""
        record, process = self.record(), self.process()
        if record is None or process is None:
            self.kill()
            return
        family = _family(process)
        _signal(process, record.stop_signal)
        for member in family:
            _signal(member, signal.SIGCONT)  # a frozen process would not hear it
        wait_until(lambda: not self.is_alive(), timeout_s)
        _kill_all(family)
        self.kill()

    def kill(self) -> None:
        """End it and its children with SIGKILL, as a power failure would; returns when they are gone."""
        record, process = self.record(), self.process()
        if process is not None:
            _kill_all(_family(process))
        elif record is not None:
            _kill_all(_orphans(record, self._mark))
        self._forget()

    def freeze(self) -> None:
        """Stop it and its children from running (SIGSTOP); connections stay open.

        Returns when they have stopped: a signal only asks, and one that is busy goes on for a moment.
        """
        process = self.running()
        _signal(process, signal.SIGSTOP)  # first, so that it starts no more children
        family = _family(process)
        for member in family:
            _signal(member, signal.SIGSTOP)
        for member in family:
            wait_until(lambda member=member: not _runs(member), 5.0)

    def thaw(self) -> None:
        """Let a frozen process and its children run again."""
        for member in reversed(_family(self.running())):
            _signal(member, signal.SIGCONT)

    def running(self) -> psutil.Process:
        process = self.process()
        if process is None:
            raise ServerFailedError(self.name, "does not run")
        return process

    def _forget(self) -> None:
        self._pid_file.unlink(missing_ok=True)
        self._record_file.unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(path.name + ".new")
    draft.write_bytes(content)
    draft.rename(path)


def _family(process: psutil.Process) -> list[psutil.Process]:
    """The process and all its descendants."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]


def _orphans(record: ProcessRecord, mark: str) -> list[psutil.Process]:
    """What a dead leader left behind: members of the session that it led, who carry our mark."""
    left: list[psutil.Process] = []
    for pid in psutil.pids():
        try:
            if pid != record.pid and os.getsid(pid) == record.pid:
                member = psutil.Process(pid)
                if member.environ().get(_MARK) == mark:
                    left.append(member)
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue  # it ended while we looked, or is not ours
    return left


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)  # psutil checks the start time again before it sends
    except psutil.NoSuchProcess:
        return  # it ended in the meantime, as was wanted


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() not in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
    except psutil.NoSuchProcess:
        return False


def _kill_all(processes: list[psutil.Process]) -> None:
    for process in processes:
        _signal(process, signal.SIGKILL)
    for process in processes:
        wait_until(
            lambda process=process: identify(process.pid, process.create_time()) is None, 5.0
        )
