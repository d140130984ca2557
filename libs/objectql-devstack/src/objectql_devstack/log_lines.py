"""Log lines of the services in a form for people."""

from __future__ import annotations

from typing import Any, cast

import msgspec

_NO_FACTS = frozenset({"ts", "level", "event", "service", "instance", "stack"})
_TIME = slice(11, 23)


def record_of(line: str) -> dict[str, Any] | None:
    """The record that a service logged as `line`; None where it is something else."""
    if not line.startswith("{"):
        return None
    try:
        record = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    if not isinstance(record, dict) or "event" not in record:
        return None
    return cast("dict[str, Any]", record)


def facts_of(record: dict[str, Any]) -> str:
    """`event name=value ...`, without what every line has."""
    facts = [f"{name}={_text(value)}" for name, value in record.items() if name not in _NO_FACTS]
    return " ".join([str(record["event"]), *facts])


def readable(line: str) -> list[str]:
    """`time level event name=value ...` and the lines of the stack; other lines as they are."""
    record = record_of(line)
    if record is None:
        return [line]
    time, level = str(record.get("ts", ""))[_TIME], record.get("level", "")
    return [f"{time} {level:<7} {facts_of(record)}", *str(record.get("stack", "")).splitlines()]


def _text(value: object) -> str:
    if isinstance(value, str) and value and " " not in value:
        return value
    return msgspec.json.encode(value).decode()
