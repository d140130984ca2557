"""Loopback TCP ports: choosing free ones, and naming who holds a taken one."""

from __future__ import annotations

import secrets
import socket
import threading

import psutil

from objectql_devstack.errors import DevStackError

# Below the range from which the kernel takes ports for outgoing connections (32768 on Linux): a server that
# is down for a moment does not find its port taken by somebody's client socket.
_FIRST, _LAST = 15_000, 32_000
_ATTEMPTS = 500

_given: set[int] = set()
_lock = threading.Lock()


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
    """A port that nobody listens on and that this process has not been given before.

    Raises:
        DevStackError: None was found.
    """
    with _lock:
        for _ in range(_ATTEMPTS):
            port = _FIRST + secrets.randbelow(_LAST - _FIRST)
            if port not in _given and is_free(port):
                _given.add(port)
                return port
    raise DevStackError(f"no free port between {_FIRST} and {_LAST}")


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
