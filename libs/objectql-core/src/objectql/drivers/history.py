"""What became of records: the events of tracked objects, kept beside the records themselves.

An object with `enable.track_history` has every change of a record kept as the event that it is,
written in the transaction of the change. Entries are never altered; they go when they are old
(`kernel.audit.retention`), and with their tenant. Of fields in `audit.redact` they hold a marker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec

from objectql.events import ChangeEvent
from objectql.ids import TenantId

REDACTED: Final = "[redacted]"
"""Stands for every value, null too."""

REDACTED_CHANGE: Final = "[redacted, changed]"
"""Stands for a new value that is unlike the old one."""

_marker = msgspec.Raw(msgspec.json.encode(REDACTED))
_changed_marker = msgspec.Raw(msgspec.json.encode(REDACTED_CHANGE))
_MARKERS: Final = (_marker, _changed_marker)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def is_marker(value: msgspec.Raw) -> bool:
    """Whether a value of an image stands for one that was not kept."""
    return value in _MARKERS


def redacted(
    before: bytes | str | None, after: bytes | str | None, fields: Sequence[str]
) -> tuple[bytes | None, bytes | None]:
    """The images of a change with markers in the place of the values of `fields`."""
    old = None if before is None else _members(before)
    new = None if after is None else _members(after)
    return _with_markers(old, fields, {}), _with_markers(new, fields, old or {})


def _with_markers(
    image: Mapping[str, msgspec.Raw] | None, fields: Sequence[str], old: Mapping[str, msgspec.Raw]
) -> bytes | None:
    if image is None:
        return None
    markers = {
        name: _changed_marker if name in old and old[name] != image[name] else _marker
        for name in fields
        if name in image
    }
    return msgspec.json.encode({**image, **markers})


class HistoryStore(Protocol):
    """The kept events of one data source."""

    async def of_record(
        self,
        tenant: TenantId,
        object: str,
        record_id: str,
        *,
        limit: int,
        before: int | None = None,
    ) -> tuple[tuple[int, ChangeEvent], ...]:
        """Up to `limit` committed entries of a record with their positions, the latest first.

        `before`: only entries whose position is lower. Positions of one record are in the order of
        its commits.
        """
        ...
