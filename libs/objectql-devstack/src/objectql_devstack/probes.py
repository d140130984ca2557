"""Questions to a server that tell whether it is ready; each answers at once with yes or no."""

from __future__ import annotations

import http.client
import socket

_TIMEOUT_S = 1.0


def _ask(host: str, port: int, question: bytes, expected: bytes) -> bool:
    try:
        with socket.create_connection((host, port), _TIMEOUT_S) as connection:
            if question:
                connection.sendall(question)
            answer = b""
            while expected not in answer:
                part = connection.recv(4096)
                if not part:
                    return False
                answer += part
    except OSError:
        return False  # nobody listens yet, or does not answer yet: not ready is the answer
    return True


def answers_tcp(host: str, port: int) -> bool:
    """Whether somebody accepts connections."""
    return _ask(host, port, b"", b"")


def answers_nats(host: str, port: int) -> bool:
    """Whether a NATS server greets."""
    return _ask(host, port, b"", b"INFO {")


def answers_redis(host: str, port: int) -> bool:
    """Whether a Redis-compatible server answers; one that wants a password is up as well."""
    return _ask(host, port, b"PING\r\n", b"PONG") or _ask(host, port, b"PING\r\n", b"NOAUTH")


def serves_zookeeper(host: str, port: int) -> bool:
    """Whether a ZooKeeper node takes requests: it stands alone, leads, or follows a leader."""
    return _ask(host, port, b"srvr", b"Mode: ")


def answers_http(host: str, port: int, path: str) -> bool:
    """Whether `GET path` answers 200."""
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False  # not ready is the answer
    finally:
        connection.close()
