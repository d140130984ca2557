"""What can be set on a REST gateway."""

from __future__ import annotations

import msgspec


class LimitSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one request may cost. Times in seconds, sizes in bytes, counts in records."""

    body_bytes: int = 1_048_576
    query_string_bytes: int = 16_384
    nesting: int = 64
    default_page: int = 100
    max_page: int = 1000
    bulk_records: int = 200
    timeout_s: float = 10.0
    max_timeout_s: float = 60.0
