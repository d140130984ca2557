from __future__ import annotations

import zlib

import pytest

from objectql.errors import InvalidRequest
from objectql.metadata import transfer
from objectql.metadata.document import Document
from objectql.metadata.loader import build_snapshot
from objectql.metadata.transfer import decode_snapshot, encode_snapshot


def test_snapshot_arrives_as_it_was_sent() -> None:
    documents = [
        Document("p", "object", "t", {"fields": {"a": {"type": "currency"}}}, "t.object.yml"),
        Document("p", "view", "all", {"object": "t"}),
    ]
    sent = build_snapshot(documents, 7)
    arrived = decode_snapshot(encode_snapshot(sent))
    assert arrived.version == 7
    assert arrived.objects == sent.objects
    assert arrived.items == sent.items


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", zlib.compress(b"\xc1"), zlib.compress(b"x" * 99)[:-9]]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        decode_snapshot(data)


def test_bytes_that_unpack_to_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "MAX_BYTES", 1000)
    with pytest.raises(InvalidRequest):
        decode_snapshot(zlib.compress(bytes(100_000)))
