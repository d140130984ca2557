"""The name of a prepared part, which tells all that recovery must know of it."""

from __future__ import annotations

import hashlib
from typing import Final, Literal, TypeAlias

import msgspec

from objectql.ids import DataSource, TenantId

Outcome: TypeAlias = Literal["commit", "abort"]

_MARK: Final = "oql"
_FIELDS: Final = 6
_KERNEL_DIGITS: Final = 8

UNNAMED_KERNEL: Final = "-"
"""Of a part that does not tell its kernel: an earlier version has prepared it."""


def kernel_name(instance: str, started_ms: int) -> str:
    """What a kernel calls itself in the names of its parts; started anew it is another."""
    return hashlib.sha256(f"{instance}:{started_ms}".encode()).hexdigest()[:_KERNEL_DIGITS]


class PartName(msgspec.Struct, frozen=True):
    """One part of a transaction: what it has done in one data source.

    `epoch` is that of the leader known when the part was prepared; `deadline_ms` (Unix) is until
    when a commit can be decided; `kernel` (see `kernel_name`) runs the transaction.
    """

    epoch: int
    deadline_ms: int
    kernel: str
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
        """The name in the store: at most 194 bytes, of the 200 that Postgres allows."""
        kernel = () if self.kernel == UNNAMED_KERNEL else (self.kernel,)
        facts = (self.epoch, self.deadline_ms, *kernel, self.txn, self.tenant, self.source)
        return ":".join((_MARK, *map(str, facts)))


def parse_part_name(text: str) -> PartName | None:
    """The part that is called `text`, by this version or one before; None: it is nobody's of ours."""
    mark, *fields = text.split(":")
    if len(fields) == _FIELDS - 1:
        fields.insert(2, UNNAMED_KERNEL)
    if mark != _MARK or len(fields) != _FIELDS or not all(fields):
        return None
    epoch, deadline_ms, kernel, txn, tenant, source = fields
    try:
        name = PartName(
            int(epoch), int(deadline_ms), kernel, txn, TenantId(tenant), DataSource(source)
        )
    except ValueError:
        return None
    return name if name.text == text else None
