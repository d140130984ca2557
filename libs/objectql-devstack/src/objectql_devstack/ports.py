"""Loopback TCP ports: choosing free ones, and naming who holds a taken one."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import tempfile
import threading
from pathlib import Path

import psutil

from objectql_devstack.errors import DevStackError

# Below the range from which the kernel takes ports for outgoing connections (32768 on Linux): a server that
# is down for a moment does not find its port taken by somebody's client socket.
_FIRST, _LAST = 15_000, 32_000
_ATTEMPTS = 500

_given: set[int] = set()
_lock = threading.Lock()
_claims: list[int] = []
"""The descriptor of the file whose byte number N is locked by the process that was given port N, once it is
open; it is closed when the process ends."""


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of the loopback interface now."""
    with socket.socket() as probe:
        # As servers do: connections of an earlier server in TIME_WAIT do not count, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port that nobody listens on, and that no living process of this user was given before.

    The server binds it later; until the process ends that has asked, nobody else is given it.

    Raises:
        DevStackError: None was found.
    """
    with _lock:
        for _ in range(_ATTEMPTS):
            port = _FIRST + secrets.randbelow(_LAST - _FIRST)
            if port not in _given and is_free(port) and _claim(port):
                _given.add(port)
                return port
    raise DevStackError(f"no free port between {_FIRST} and {_LAST}")


def _claim(port: int) -> bool:
    """Whether `port` is this process's now; the system takes the claim back when it ends."""
    if not _claims:
        path = Path(tempfile.gettempdir()) / f"objectql-ports-{os.getuid()}"
        _claims.append(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600))
    try:
        fcntl.lockf(_claims[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def holder(port: int) -> str:
    """Words for the process that listens on `port`, as exact as this user is allowed to know."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "another process (this user may not see which)"
    for connection in connections:
        address = connection.laddr
        if not address or address.port != port or connection.status != psutil.CONN_LISTEN:
            continue
        if connection.pid is None:
            return "a process of another user or container"
        try:
            command = " ".join(psutil.Process(connection.pid).cmdline())
        except psutil.Error:
            return f"process {connection.pid}"
        return f"process {connection.pid} ({command[:120]})"
    return "a process that is not visible here"
