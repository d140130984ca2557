"""The name of a prepared part, which tells all that recovery must know of it."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from objectql.ids import DataSource, TenantId

Outcome: TypeAlias = Literal["commit", "abort"]

_MARK: Final = "oql"
_FIELDS: Final = 5


class PartName(msgspec.Struct, frozen=True):
    """One part of a transaction: what it has done in one data source.

    `epoch` is that of the leader known when the part was prepared; `deadline_ms` (Unix) is until
    when a commit can be decided.
    """

    epoch: int
    deadline_ms: int
    txn: str
    tenant: TenantId
    source: DataSource

    @property
    def begun_ms(self) -> int:
        """When the transaction began (Unix): its id is a UUIDv7 (RFC 9562, section 5.7)."""
        try:
            return int(self.txn.replace("-", "")[:12], 16)
        except ValueError:
            return 0

    @property
    def text(self) -> str:
        """The name in the store: at most 185 bytes, of the 200 that Postgres allows."""
        return f"{_MARK}:{self.epoch}:{self.deadline_ms}:{self.txn}:{self.tenant}:{self.source}"


def parse_part_name(text: str) -> PartName | None:
    """The part that is called `text`; None: it is nobody's of ours."""
    mark, *fields = text.split(":")
    if mark != _MARK or len(fields) != _FIELDS or not all(fields):
        return None
    epoch, deadline_ms, txn, tenant, source = fields
    try:
        name = PartName(int(epoch), int(deadline_ms), txn, TenantId(tenant), DataSource(source))
    except ValueError:
        return None
    return name if name.text == text else None
