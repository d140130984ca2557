"""The state directory: what one cluster (or one test's stack) remembers between two commands.

run/<name>.pid run/<name>.json   who runs            log/<name>.log   what it said
data/<name>/                     what it stored      state.json       its ports and secrets
dev.env                          the addresses for people and clients
"""

from __future__ import annotations

import fcntl
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from objectql_devstack.errors import DevStackError, PortTakenError
from objectql_devstack.ports import free_port, holder, is_free
from objectql_devstack.processes import ManagedProcess, wait_until

# A killed server's port may be taken for a moment longer than its process exists.
_RELEASED_WITHIN_S = 1.0


class _Remembered(msgspec.Struct):
    ports: dict[str, int] = {}
    secrets: dict[str, str] = {}
    # Where the data services of a running stack come from; empty where none runs.
    mode: str = ""
    # Whether there may be containers, running or not.
    containers: bool = False
    # Folders outside of the state directory that belong to it.
    elsewhere: list[str] = []


class StateDirectory:
    """One state directory; made when it is absent. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.run = self.path / "run"
        self.logs = self.path / "log"
        self.data = self.path / "data"
        self.env_file = self.path / "dev.env"
        self._file = self.path / "state.json"
        self._mutex = threading.Lock()
        for folder in (self.run, self.logs, self.data):
            folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self, timeout_s: float = 120.0) -> Generator[None]:
        """Keep other commands on this directory out, in this and in other processes.

        Raises:
            DevStackError: Another command held the directory for all of `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        with (self.path / "lock").open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise DevStackError(
                            f"another command is still at work in {self.path}"
                        ) from None
                    time.sleep(0.05)
            yield

    def process(self, name: str, *, tier: int, tethered: bool, stop_signal: int) -> ManagedProcess:
        """The process `<service>-<n>` of this directory."""
        return ManagedProcess(
            name,
            run=self.run,
            log=self.logs / f"{name}.log",
            tier=tier,
            tethered=tethered,
            stop_signal=stop_signal,
        )

    def port(self, purpose: str, *, in_use: bool = False, keep: bool = False) -> int:
        """The remembered port for `purpose`, or a free one that is remembered from now on.

        Args:
            purpose: Any name, unique in this directory.
            in_use: Our own process listens on it; do not look whether it is free.
            keep: Others rely on this number: rather fail than take another.

        Raises:
            PortTakenError: `keep`, and somebody else has the remembered port.
        """
        with self._mutex:
            state = self._load()
            if purpose in state.ports:
                port = state.ports[purpose]
                if in_use or wait_until(lambda: is_free(port), _RELEASED_WITHIN_S):
                    return port
                if keep:
                    raise PortTakenError(port, holder(port), purpose=purpose)
            state.ports[purpose] = free_port()
            self._save(state)
            return state.ports[purpose]

    def claim(self, purpose: str, port: int, *, in_use: bool, variable: str) -> None:
        """Remember that `purpose` listens on `port`, which the developer asked for by `variable`.

        Raises:
            PortTakenError: Somebody else listens on it.
        """
        with self._mutex:
            state = self._load()
            ours = in_use and state.ports.get(purpose) == port
            if not ours and not wait_until(lambda: is_free(port), _RELEASED_WITHIN_S):
                raise PortTakenError(port, holder(port), purpose=purpose, variable=variable)
            if state.ports.get(purpose) != port:
                state.ports[purpose] = port
                self._save(state)

    def known_port(self, purpose: str) -> int | None:
        """The remembered port for `purpose`, whoever listens on it."""
        with self._mutex:
            return self._load().ports.get(purpose)

    def secret(
        self,
        name: str,
        make: Callable[[], str] = lambda: secrets.token_urlsafe(48),
        is_good: Callable[[str], bool] = bool,
    ) -> str:
        """The remembered secret, made when there is none or the remembered one is not good any more."""
        with self._mutex:
            state = self._load()
            if not is_good(state.secrets.get(name, "")):
                state.secrets[name] = make()
                self._save(state)
            return state.secrets[name]

    def enter(self, mode: str) -> None:
        """Remember where the data services come from, until `leave`.

        Raises:
            DevStackError: Those that run now come from somewhere else.
        """
        with self._mutex:
            state = self._load()
            if state.mode not in {"", mode}:
                raise DevStackError(
                    f"a stack of OQL_STACK={state.mode} runs in {self.path}: stop it first"
                )
            if state.mode != mode:
                state.mode = mode
                state.containers = state.containers or mode == "containers"
                self._save(state)

    @property
    def mode(self) -> str:
        """Where the data services of the running stack come from; empty where none runs."""
        with self._mutex:
            return self._load().mode

    @property
    def has_containers(self) -> bool:
        """Whether containers were made since the last `purge`; those of a stopped stack keep its data."""
        with self._mutex:
            return self._load().containers

    def leave(self) -> str:
        """Forget the mode, as nothing runs any more; the one that was."""
        with self._mutex:
            state = self._load()
            mode, state.mode = state.mode, ""
            if mode:
                self._save(state)
            return mode

    def adopt(self, folder: Path) -> None:
        """Remember a folder outside of this directory, to be removed by `purge`."""
        with self._mutex:
            state = self._load()
            if str(folder) not in state.elsewhere:
                state.elsewhere.append(str(folder))
                self._save(state)

    def purge(self) -> None:
        """Remove all data and everything remembered; logs stay."""
        with self._mutex:
            for folder in [*map(Path, self._load().elsewhere), self.data]:
                if folder.exists():
                    shutil.rmtree(folder)
            self._file.unlink(missing_ok=True)
            self.data.mkdir()

    def _load(self) -> _Remembered:
        if not self._file.exists():
            return _Remembered()
        return msgspec.json.decode(self._file.read_bytes(), type=_Remembered)

    def _save(self, state: _Remembered) -> None:
        draft = self._file.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
        draft.rename(self._file)
