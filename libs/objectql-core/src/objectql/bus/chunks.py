"""Replies too long for one message, cut into numbered chunks and joined again.

The bus refuses messages over 1 MB. A longer reply is sent as several messages to the same inbox,
each with the header `Oql-Chunk: <number from 1>/<count>`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from objectql.bus.port import Envelope
from objectql.wire.headers import CHUNK

CHUNK_BYTES = 512 * 1024
MAX_CHUNKS = 1024


def split(reply: Envelope, size: int = CHUNK_BYTES) -> Iterator[Envelope]:
    """`reply` as messages of at most `size` bytes; one that fits stays as it is."""
    if len(reply.body) <= size:
        yield reply
        return
    count = -(-len(reply.body) // size)
    view = memoryview(reply.body)
    for number in range(count):
        headers = {**reply.headers, CHUNK: f"{number + 1}/{count}"}
        piece = bytes(view[number * size : (number + 1) * size])
        yield Envelope(subject=reply.subject, body=piece, headers=headers)


class Joiner:
    """Collects the messages of one reply, in any order; repeated ones do no harm."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytes] = {}

    def add(self, subject: str, body: bytes, headers: Mapping[str, str]) -> Envelope | None:
        """The whole reply once its last missing piece is here.

        Raises:
            ValueError: the chunk header is malformed.

        """
        place = headers.get(CHUNK)
        if place is None:
            return Envelope(subject=subject, body=body, headers=headers)
        number_text, _, count_text = place.partition("/")
        number, count = int(number_text), int(count_text)
        if not 1 <= number <= count <= MAX_CHUNKS:
            raise ValueError(f'"{place}" is not the place of a chunk')
        self._pieces[number] = body
        if len(self._pieces) < count:
            return None
        whole = b"".join(self._pieces[index] for index in range(1, count + 1))
        rest = {name: value for name, value in headers.items() if name != CHUNK}
        return Envelope(subject=subject, body=whole, headers=rest)
