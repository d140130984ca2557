"""A proxy in front of Postgres that makes a fault at a statement, by its text.

It reads what a client sends (PostgreSQL documentation, "Message Formats"), in the simple protocol
and in the extended one, where a statement is named once and carried out often.
"""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple, TypeAlias

from tests.proxies import Link, Proxy

Fault: TypeAlias = Literal["cut_before", "cut_after", "hang", "pass"]
"""`cut_before`: it never reaches the server. `cut_after`: the server carries it out, the client does
not hear so. `hang`: the connection goes silent before it. `pass`: nothing, but that it is told."""

_STARTUP = 8
_ENCRYPTION_REQUESTS = frozenset({80877103, 80877104})
"""Codes of SSLRequest and GSSENCRequest: after them another start follows."""


class Sent(NamedTuple):
    """One whole message of a client; `statement` is the text that it has carried out, if it does."""

    message: bytes
    statement: str | None


class Frontend:
    """Puts a client's messages together from pieces; encryption is not spoken."""

    def __init__(self) -> None:
        self._rest = b""
        self._has_started = False
        self._statements: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}

    def feed(self, piece: bytes) -> Iterator[Sent]:
        """The messages that are complete now."""
        self._rest += piece
        while (size := self._size()) and len(self._rest) >= size:
            message, self._rest = self._rest[:size], self._rest[size:]
            yield Sent(message, self._carried_out(message))

    def _size(self) -> int:
        """Of the next message in bytes; 0 while that is not known."""
        head = 1 if self._has_started else 0
        if len(self._rest) < head + 4:
            return 0
        return head + int(struct.unpack_from("!I", self._rest, head)[0])

    def _carried_out(self, message: bytes) -> str | None:
        if not self._has_started:
            code = struct.unpack_from("!I", message, 4)[0] if len(message) >= _STARTUP else 0
            self._has_started = code not in _ENCRYPTION_REQUESTS
            return None
        kind, body = message[:1], message[5:]
        match kind:
            case b"Q":
                return _text(body)
            case b"P":
                name, _, rest = body.partition(b"\0")
                self._statements[name] = _text(rest)
            case b"B":
                portal, _, rest = body.partition(b"\0")
                self._portals[portal] = self._statements.get(rest.partition(b"\0")[0], "")
            case b"E":
                return self._portals.get(body.partition(b"\0")[0], "")
            case _:
                pass
        return None


def _text(body: bytes) -> str:
    return body.partition(b"\0")[0].decode(errors="replace")


class PostgresProxy(Proxy):
    """A `Proxy` that makes one fault at the statement that `at` has named."""

    def __init__(self) -> None:
        super().__init__()
        self._pattern: re.Pattern[str] | None = None
        self._left = 0
        self._fault: Fault = "pass"
        self._told: Callable[[str], None] | None = None
        self.has_struck = threading.Event()

    def at(
        self,
        pattern: str,
        fault: Fault,
        *,
        after: int = 0,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """Make `fault` once, at the statement that `pattern` finds when `after` others have passed.

        `tell` is called with its text first, on the thread of the proxy, while the statement waits: it
        may kill a process. `has_struck` is set then.
        """
        self.has_struck.clear()
        self._left, self._fault, self._told = after, fault, tell
        self._pattern = re.compile(pattern, re.IGNORECASE)

    def watching(self, link: Link) -> Callable[[bytes], bytes]:
        frontend = Frontend()

        def watch(piece: bytes) -> bytes:
            passed = b""
            for sent in frontend.feed(piece):
                if sent.statement is not None and self._strikes(sent.statement):
                    if self._fault == "cut_before":
                        link.cut()
                        return b""
                    link.is_silent = self._fault == "hang"
                    link.ends_at_answer = self._fault == "cut_after"
                passed += sent.message
            return passed

        return watch

    def _strikes(self, statement: str) -> bool:
        if self._pattern is None or not self._pattern.search(statement):
            return False
        self._left -= 1
        if self._left >= 0:
            return False
        self._pattern = None
        if self._told is not None:
            self._told(statement)
        self.has_struck.set()
        return True
