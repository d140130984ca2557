"""A snapshot as bytes, for processes that hold no store: gateways and the cluster's caches.

What travels are the documents; the receiver builds the same snapshot from them.
"""

from __future__ import annotations

import zlib
from typing import Any

import msgspec

from objectql.errors import InvalidRequest
from objectql.metadata.build import build_snapshot
from objectql.metadata.document import Document
from objectql.metadata.overlay import TenantMetadata
from objectql.metadata.registry import MetadataSnapshot

MAX_BYTES = 64 << 20
"""Unpacked; what unpacks to more is refused before it fills the memory."""


class _Transfer(msgspec.Struct, frozen=True, array_like=True):
    version: int
    documents: tuple[tuple[str, str, str, Any, str], ...]


def encode_snapshot(snapshot: MetadataSnapshot) -> bytes:
    """The documents of `snapshot`, packed."""
    documents = tuple((d.layer, d.type, d.name, d.content, d.path) for d in snapshot.documents)
    return zlib.compress(msgspec.msgpack.encode(_Transfer(snapshot.version, documents)), 3)


def decode_snapshot(data: bytes) -> MetadataSnapshot:
    """The snapshot that `encode_snapshot` has packed.

    Raises:
        InvalidRequest: these are not such bytes.
        MetadataInvalid: this version of the language refuses the documents.

    """
    unpacker = zlib.decompressobj()
    try:
        packed = unpacker.decompress(data, MAX_BYTES)
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise InvalidRequest(reason="the metadata is cut off or too large")
        transfer = msgspec.msgpack.decode(packed, type=_Transfer)
    except (zlib.error, msgspec.DecodeError) as exc:
        raise InvalidRequest(reason="these bytes are no metadata snapshot") from exc
    documents = (Document(*parts) for parts in transfer.documents)
    return build_snapshot(documents, transfer.version)


def encode_own(metadata: TenantMetadata) -> bytes:
    """What a tenant has of its own, packed. It is as small as tenants' documents may be together."""
    return msgspec.msgpack.encode(metadata)


def decode_own(data: bytes) -> TenantMetadata:
    """What `encode_own` has packed.

    Raises:
        InvalidRequest: these are not such bytes.

    """
    try:
        return msgspec.msgpack.decode(data, type=TenantMetadata)
    except msgspec.DecodeError as exc:
        raise InvalidRequest(reason="these bytes are no metadata of a tenant") from exc
