"""Names and identifiers that are valid by construction.

Object and field names become SQL identifiers, NATS subject tokens and URL segments, so they are
checked once, here, and carried as their own types afterwards.
"""

from __future__ import annotations

import os
import re
import time
from typing import NewType

ObjectName = NewType("ObjectName", str)
FieldName = NewType("FieldName", str)
TenantId = NewType("TenantId", str)
DataSource = NewType("DataSource", str)

MAX_NAME = 48
"""Leaves room for suffixes within Postgres' 63 bytes."""

RESERVED_OBJECTS = frozenset(
    "data metadata objectql files v1 graphql odata rpc ws realtime health ready metrics docs "
    "openapi admin auth meta batch transactions query command execute events".split()
)
"""First path segments under `/api`; an object of this name could not be reached."""

TENANT_MARK = "__c"
"""How the names end that tenants give their own fields and objects, and their columns and tables;
no other name does, so that the published metadata can never collide with a tenant's."""

RESERVED_PREFIXES = ("oql_", "pg_", "sqlite_")
"""Tables of the system and of the databases; an object of such a name would stand in their way."""

_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}\Z")
_RECORD_ID_MAX = 255


def is_name(text: str) -> bool:
    """Whether `text` may name an object, field, action or index."""
    return len(text) <= MAX_NAME and _NAME.match(text) is not None


def is_tenants_own(name: str) -> bool:
    """Whether `name` is one that only a tenant may give."""
    return name.endswith(TENANT_MARK)


def tenant_id(text: str) -> TenantId:
    """`text` as a tenant id: letters, digits, `_` and `-`, so it is a valid subject token.

    Raises:
        ValueError: it is not.

    """
    if _TENANT.match(text) is None:
        raise ValueError("a tenant id has 1 to 63 letters, digits, hyphens or underscores")
    return TenantId(text)


def is_record_id(text: str) -> bool:
    """Whether `text` may be a record's id: 1 to 255 characters, none of them a control."""
    return 0 < len(text) <= _RECORD_ID_MAX and text.isprintable()


_last_ms = 0
_counter = 0


def uuid7() -> str:
    """A time-ordered UUID (RFC 9562 §5.7), increasing within one process.

    The 12 bits after the time are a counter (method 1 of §6.2) that starts anew each millisecond.
    """
    global _last_ms, _counter  # noqa: PLW0603 - the generator's state
    now_ms = time.time_ns() // 1_000_000
    if now_ms > _last_ms:
        _last_ms, _counter = now_ms, 0
    else:
        _counter += 1
        if _counter > 0xFFF:
            _last_ms, _counter = _last_ms + 1, 0
    tail = int.from_bytes(os.urandom(8)) & 0x3FFF_FFFF_FFFF_FFFF | 0x8000_0000_0000_0000
    text = f"{_last_ms << 16 | 0x7000 | _counter:016x}{tail:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
