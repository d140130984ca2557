"""What can go wrong while servers start or stop; every message says what to do about it."""

from __future__ import annotations

from pathlib import Path


class DevStackError(Exception):
    """A developer's mistake or a missing program; the message is complete, no stack trace is needed."""


class PortTakenError(DevStackError):
    """Somebody else listens on a port that was asked for."""

    def __init__(
        self, port: int, holder: str, *, purpose: str, variable: str | None = None
    ) -> None:
        hint = f"; set {variable} to another port" if variable else ""
        super().__init__(f"port {port} for {purpose} is taken by {holder}{hint}")
        self.port = port
        self.holder = holder


class ServerFailedError(DevStackError):
    """A server ended before it was ready, or did not get ready in time."""

    def __init__(self, name: str, reason: str, *, log: Path | None = None, tail: str = "") -> None:
        where = f" (log: {log})" if log else ""
        quoted = "\n" + "\n".join(f"    {line}" for line in tail.splitlines()) if tail else ""
        super().__init__(f"{name} {reason}{where}{quoted}")
        self.name = name
