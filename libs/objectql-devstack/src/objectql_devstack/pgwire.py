"""Just enough of the Postgres protocol to ask whether a server is ready and to create databases.

Trust authentication and the simple query protocol only; the engine's driver is elsewhere.
Source: PostgreSQL documentation, "Frontend/Backend Protocol", version 3.0.
"""

from __future__ import annotations

import socket
import struct
from typing import Self

from objectql_devstack.errors import DevStackError

_PROTOCOL = 196_608  # 3.0
_TIMEOUT_S = 5.0


class PostgresRefusedError(DevStackError):
    """The server answered with an error; `code` is its SQLSTATE."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(f"postgres: {fields.get('M', 'refused')} ({fields.get('C', '?')})")
        self.code = fields.get("C", "")


class PgConnection:
    """One connection, open inside `with`.

    Raises:
        OSError: Nobody listens, or the connection broke.
        PostgresRefusedError: The server does not let us in (it may still be starting).
    """

    def __init__(self, port: int, database: str = "postgres", *, host: str = "127.0.0.1") -> None:
        self._socket = socket.create_connection((host, port), _TIMEOUT_S)
        try:
            fields = b"".join(
                word.encode() + b"\0" for word in ("user", "postgres", "database", database)
            )
            self._socket.sendall(struct.pack("!ii", len(fields) + 9, _PROTOCOL) + fields + b"\0")
            self._until_ready()
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def query(self, sql: str) -> list[tuple[str | None, ...]]:
        """The rows of one statement, each value as text.

        Raises:
            PostgresRefusedError: The statement failed.
        """
        body = sql.encode() + b"\0"
        self._socket.sendall(b"Q" + struct.pack("!i", len(body) + 4) + body)
        return self._until_ready()

    def _until_ready(self) -> list[tuple[str | None, ...]]:
        rows: list[tuple[str | None, ...]] = []
        refused: PostgresRefusedError | None = None
        while True:
            kind, body = self._message()
            if kind == b"D":
                rows.append(_values(body))
            elif kind == b"R" and body[:4] != b"\0\0\0\0":
                raise PostgresRefusedError({"M": "a password is asked for", "C": "28P01"})
            elif kind == b"E":
                parts = [part.decode() for part in body.split(b"\0") if part]
                refused = PostgresRefusedError({part[0]: part[1:] for part in parts})
                if refused.code.startswith(("57P", "3D", "28", "53")):
                    raise refused  # the server closes after these
            elif kind == b"Z":
                if refused:
                    raise refused
                return rows

    def _message(self) -> tuple[bytes, bytes]:
        head = self._exactly(5)
        (size,) = struct.unpack("!i", head[1:])
        return head[:1], self._exactly(size - 4)

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            if not part:
                raise ConnectionResetError("the server closed the connection")
            data += part
        return data


def _values(body: bytes) -> tuple[str | None, ...]:
    (count,) = struct.unpack_from("!h", body)
    offset, values = 2, list[str | None]()
    for _ in range(count):
        (size,) = struct.unpack_from("!i", body, offset)
        offset += 4
        if size < 0:
            values.append(None)
            continue
        values.append(body[offset : offset + size].decode())
        offset += size
    return tuple(values)


def answers_postgres(port: int, *, host: str = "127.0.0.1") -> bool:
    """Whether a server lets us in, or would for a password; one that is still starting does not."""
    try:
        with PgConnection(port, host=host):
            return True
    except PostgresRefusedError as refused:
        return refused.code.startswith("28")  # asks for a password: up
    except OSError:
        return False  # not ready is the answer


def is_streaming(port: int) -> bool:
    """Whether this standby accepts reads and receives the primary's changes."""
    try:
        with PgConnection(port) as standby:
            return standby.query("select status from pg_stat_wal_receiver") == [("streaming",)]
    except (OSError, PostgresRefusedError):
        return False  # not ready is the answer
