"""What processes of earlier versions say is understood, and loses nothing on the way.

`golden_messages.json` has messages as they were sent, or as they stand in the decision log, with all
fields set to something. A new form is added to it when a message grows; none is ever changed.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Final

import msgspec
import pytest

from objectql.wire import transactions
from objectql.wire.codec import decode, encode
from objectql.wire.messages import Heartbeat


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`said` is msgpack in hexadecimal digits."""

    message: str
    since: str
    said: str


GOLDEN: Final = msgspec.json.decode(
    Path(__file__).with_name("golden_messages.json").read_bytes(), type=list[Golden]
)

KEPT: Final[dict[str, type[msgspec.Struct]]] = {
    name: found
    for name, found in (
        ("Heartbeat", Heartbeat),
        *inspect.getmembers(transactions, inspect.isclass),
    )
    if issubclass(found, msgspec.Struct)
    and found.__module__ in (Heartbeat.__module__, transactions.__name__)
    and not name.startswith("_")
}


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: f"{golden.message} {golden.since}")
def test_what_was_said_is_understood_and_would_be_said_again(golden: Golden) -> None:
    said = bytes.fromhex(golden.said)
    understood = decode(KEPT[golden.message], said)
    assert msgspec.msgpack.decode(encode(understood)) == msgspec.msgpack.decode(said)


@pytest.mark.parametrize("message", KEPT)
def test_every_field_of_a_message_is_in_one_that_was_kept(message: str) -> None:
    kept = [bytes.fromhex(golden.said) for golden in GOLDEN if golden.message == message]
    assert kept
    said = {name for each in kept for name in msgspec.msgpack.decode(each)}
    assert said == set(KEPT[message].__struct_fields__)
