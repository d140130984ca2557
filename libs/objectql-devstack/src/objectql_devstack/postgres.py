"""Postgres: a primary that can prepare transactions, and a streaming hot standby of it."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

from objectql_devstack import programs
from objectql_devstack.environment import inherited
from objectql_devstack.errors import ServerFailedError
from objectql_devstack.folders import claim, fleeting_folder, reachable_folder, sweep
from objectql_devstack.pgwire import PgConnection, answers_postgres, is_streaming
from objectql_devstack.servers import LOOPBACK, NativeServer, Terms
from objectql_devstack.spawning import RunUser
from objectql_devstack.state import StateDirectory

_SLOT = "replica_1"

# The standby must have the same limits as the primary, or it refuses to start.
SHARED_OPTIONS = {
    "max_connections": "200",
    "max_prepared_transactions": "64",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "max_slot_wal_keep_size": "2GB",
    "synchronous_commit": "on",
    "hot_standby": "on",
    "hot_standby_feedback": "on",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "200ms",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_OPTIONS = SHARED_OPTIONS | {"listen_addresses": LOOPBACK, "unix_socket_directories": ""}
DURABLE = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "128MB"}
VOLATILE = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB"}


class _PostgresServer(NativeServer):
    stop_signal = signal.SIGINT  # "fast" shutdown: does not wait for clients to leave

    def __init__(self, state: StateDirectory, name: str, terms: Terms) -> None:
        super().__init__(state, name, terms)
        self._user = programs.postgres_user()
        self._programs = programs.postgres_programs(self._user)
        place = fleeting_folder if terms.disposable else reachable_folder
        self._data = place(state.data / name, self._user)
        if state.data not in self._data.parents:
            state.adopt(self._data.parent)
            if terms.disposable:
                sweep()
                claim(self._data.parent)

    @property
    def endpoint(self) -> str:
        return f"postgresql://postgres@{LOOPBACK}:{self.port}/objectql"

    @property
    def data(self) -> Path:
        return self._data

    @property
    def user(self) -> RunUser | None:
        return self._user

    def command(self) -> tuple[str, ...]:
        options = _OPTIONS | (DURABLE if self.terms.durable else VOLATILE) | self.extra_options()
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        program = str(self._programs / "postgres")
        return (program, "-D", str(self._data), "-p", str(self.port), *settings)

    def extra_options(self) -> dict[str, str]:
        return {}

    def make_data(self, tool: str, *arguments: str) -> None:
        """Let `tool` fill a new data folder, which counts only when it is complete."""
        draft = self._data.with_name(f"{self._data.name}.new")
        if draft.exists():
            shutil.rmtree(draft)
        draft.mkdir(mode=0o700, parents=True)
        if self._user:
            draft.parent.chmod(0o755)
            shutil.chown(draft, self._user.uid, self._user.gid)
        # What the operating system has not yet written survives our crash, and a test needs no more.
        unsynced = () if self.terms.durable else ("--no-sync",)
        done = subprocess.run(
            [str(self._programs / tool), "-D", str(draft), *arguments, *unsynced],
            check=False,
            capture_output=True,
            text=True,
            cwd="/",
            env=inherited(hermetic=True) | {"LC_ALL": "C.UTF-8"},
            user=self._user.uid if self._user else None,
            group=self._user.gid if self._user else None,
            extra_groups=[] if self._user else None,
        )
        if done.returncode:
            raise ServerFailedError(
                self.name, f"could not be set up: {tool} failed", tail=done.stderr
            )
        self.finish(draft)
        draft.rename(self._data)

    def finish(self, draft: Path) -> None:
        """Add to a new data folder what the tool does not."""


class PostgresPrimary(_PostgresServer):
    """The primary, with its databases; any account of this machine may connect as `postgres`."""

    def __init__(self, state: StateDirectory, terms: Terms, databases: tuple[str, ...]) -> None:
        super().__init__(state, "postgres-1", terms)
        self._databases = databases

    def is_ready(self) -> bool:
        return answers_postgres(self.port)

    def prepare(self) -> None:
        if self._data.exists():
            return
        # The same order of text on every machine: by code point, whatever the system's locales are.
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
        self.make_data("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", *locale)

    def start(self, *, keep_port: bool = False) -> None:
        super().start(keep_port=keep_port)
        with PgConnection(self.port) as primary:
            present = {row[0] for row in primary.query("select datname from pg_database")}
            for name in self._databases:
                if name not in present:
                    primary.query(f'create database "{name}"')


class PostgresReplica(_PostgresServer):
    """A streaming hot standby; start the primary before it."""

    tier = 1

    def __init__(self, state: StateDirectory, terms: Terms, primary: PostgresPrimary) -> None:
        super().__init__(state, "postgres-replica-1", terms)
        self._primary = primary

    def is_ready(self) -> bool:
        """Whether it takes reads and follows the primary; alone it cannot follow."""
        if self._primary.managed.is_alive():
            return is_streaming(self.port)
        return answers_postgres(self.port)

    def extra_options(self) -> dict[str, str]:
        link = (
            f"host={LOOPBACK} port={self._primary.port} user=postgres application_name={self.name}"
        )
        return {"primary_conninfo": link, "primary_slot_name": _SLOT}

    def prepare(self) -> None:
        if self._data.exists():
            return
        with PgConnection(self._primary.port) as primary:
            if not primary.query(f"select from pg_replication_slots where slot_name = '{_SLOT}'"):
                primary.query(f"select pg_create_physical_replication_slot('{_SLOT}', true)")
        source = ("-h", LOOPBACK, "-p", str(self._primary.port), "-U", "postgres")
        self.make_data("pg_basebackup", *source, "-S", _SLOT, "-X", "stream", "-c", "fast")

    def finish(self, draft: Path) -> None:
        (draft / "standby.signal").touch()

    def start(self, *, keep_port: bool = False) -> None:
        copied_before = self._data.exists()
        try:
            super().start(keep_port=keep_port)
        except ServerFailedError:
            if not copied_before or not self._primary.is_ready():
                raise
            # It fell behind for too long, or the primary is another one: only a new copy helps.
            self.kill()
            shutil.rmtree(self._data)
            super().start(keep_port=keep_port)
