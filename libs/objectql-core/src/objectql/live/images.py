"""The images of an event: values to match, and JSON to send, each made once however many ask."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from objectql.events import ChangeEvent
from objectql.ids import ObjectName
from objectql.metadata.masks import Mask
from objectql.metadata.types import Storage
from objectql.values import Record

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decimal = msgspec.json.Decoder(Decimal | None).decode
_float = msgspec.json.Decoder(float | None).decode
_any = msgspec.json.Decoder().decode
_NULL: Final = msgspec.Raw(b"null")

_encode = msgspec.json.Encoder().encode


class Image:
    """One whole stored record, as the database wrote it."""

    __slots__ = ("_members", "record")

    def __init__(self, text: bytes) -> None:
        self._members = _members(text)
        self.record: Record = {}
        """The values that were needed so far."""

    @property
    def id(self) -> str:
        """The record's id."""
        id_: str = _any(self._members["id"])
        return id_

    def need(self, fields: Iterable[tuple[str, Storage]]) -> None:
        """Have the values of `fields` in `record`."""
        record = self.record
        for name, storage in fields:
            if name not in record:
                record[name] = _value(self._members.get(name, _NULL), storage)

    def select(self, names: Iterable[str], masks: Mapping[str, Mask]) -> bytes:
        """A JSON object of these fields; of values without a mask no digit is touched."""
        members: Mapping[str, msgspec.Raw] = self._members
        found: dict[str, Any] = {name: members.get(name, _NULL) for name in names}
        for name, mask in masks.items():
            found[name] = mask.of(_any(found[name]))
        return _encode(found)


def _value(raw: msgspec.Raw, storage: Storage) -> Any:
    match storage:
        case Storage.DECIMAL:
            return _decimal(raw)
        case Storage.FLOAT:
            return _float(raw)
        case _:
            return _any(raw)


class EventImages:
    """The old and the new image of one event."""

    __slots__ = ("_selections", "event", "new", "old")

    old: Image | None
    new: Image | None

    def __init__(self, event: ChangeEvent) -> None:
        self.event = event
        self.old = None if event.before is None else Image(event.before)
        self.new = None if event.after is None else Image(event.after)
        self._selections: dict[Hashable, bytes] = {}

    @staticmethod
    def turned(cause: ChangeEvent, object: ObjectName, id: str, image: Image) -> EventImages:
        """Of a record that is as it was, of which `cause` has changed what it means."""
        event = msgspec.structs.replace(
            cause, object=object, record_id=id, kind="updated", before=None, after=None
        )
        found = EventImages(event)
        found.old = found.new = image
        return found

    def data(self, outputs: tuple[str, ...], masks: Mapping[str, Mask]) -> bytes:
        """The new image's `outputs` as a JSON object; there must be a new image."""
        key = (outputs, tuple(masks.items()))
        found = self._selections.get(key)
        if found is None:
            assert self.new is not None
            found = self._selections[key] = self.new.select(outputs, masks)
        return found
