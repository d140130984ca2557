"""Metadata documents as the store keeps them.

A layer may declare one object in several files, so an item holds the list of its documents with
their paths. Documents are stored as they were written, not as they were understood: a newer
release reads them by its own rules.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from objectql.drivers.stores import StoredItem
from objectql.metadata.document import Document


class StoredDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """One document of an item."""

    content: Any
    path: str = ""


_encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(tuple[StoredDocument, ...])


def stored_items(documents: Iterable[Document]) -> tuple[StoredItem, ...]:
    """One item per layer, type and name; equal documents make equal items."""
    grouped: dict[tuple[str, str, str], list[Document]] = {}
    for document in documents:
        key = (document.layer, document.type, document.name)
        grouped.setdefault(key, []).append(document)
    return tuple(
        StoredItem(
            layer=layer,
            type=type_,
            name=name,
            content=_encoder.encode([StoredDocument(d.content, d.path) for d in members]),
            path=members[0].path,
        )
        for (layer, type_, name), members in grouped.items()
    )


def documents_of(items: Iterable[StoredItem]) -> tuple[Document, ...]:
    """The documents of stored items, without positions."""
    return tuple(
        Document(item.layer, item.type, item.name, stored.content, stored.path)
        for item in items
        for stored in _decoder.decode(item.content)
    )
