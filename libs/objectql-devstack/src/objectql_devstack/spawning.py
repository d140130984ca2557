"""Starting programs: in the background for good, or tied to the life of this process.

A tied ("tethered") child is killed by the kernel when its parent dies, even by `kill -9`. The parent that
Linux watches is the *thread* that forked (prctl(2), PR_SET_PDEATHSIG); so all tied children are forked by
one thread that lives as long as this process.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from objectql_devstack import tether
from objectql_devstack.errors import DevStackError

_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class RunUser:
    """An account to run a server as, when this process is root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Launch:
    """A program, its arguments, and everything it is given."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    user: RunUser | None = None
    directory: Path = Path("/")


@functools.cache
def _tethering_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="devstack-tether")


def _popen(launch: Launch, command: list[str], log: Path, user: RunUser | None) -> int:
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            env=dict(launch.environment),
            cwd=launch.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user.uid if user else None,
            group=user.gid if user else None,
            extra_groups=[] if user else None,
        )
    _children[child.pid] = child
    return child.pid


def spawn(launch: Launch, log: Path, *, tethered: bool) -> int:
    """Start a program in a session of its own, its output appended to `log`; its process id.

    Raises:
        DevStackError: There is no such program.
    """
    program = shutil.which(launch.command[0])
    if program is None:
        raise DevStackError(f"{launch.command[0]} is not installed")
    command = [program, *launch.command[1:]]
    if not tethered:
        return _popen(launch, command, log, launch.user)
    user = f"{launch.user.uid}:{launch.user.gid}" if launch.user else "-"
    shim = [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), user]
    return _tethering_thread().submit(_popen, launch, shim + command, log, None).result()


def exit_code(pid: int) -> int | None:
    """How a child of this process ended, however often it is asked; None while it runs, or where it
    is not ours to know.
    """
    child = _children.get(pid)
    return child.poll() if child is not None else None
