"""Autonumber fields: a format with dates, fields and one counter, filled on create.

`INV-{YYYY}-{0000}`: the counter's width is its zero padding. Its scope is the rendered text before
it where that text changes, so this one starts anew each year.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from objectql.drivers.protocol import Session
from objectql.ids import TenantId
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.values import Value

_PART = re.compile(r"\{([^{}]*)\}")
_COUNTER = re.compile(r"0+\Z")
_DATE_PARTS = {
    "YYYY": slice(0, 4),
    "YY": slice(2, 4),
    "MM": slice(5, 7),
    "DD": slice(8, 10),
}


def autonumber_fields(object_: ObjectDef) -> tuple[FieldDef, ...]:
    """The autonumber fields of an object."""
    return tuple(field for field in object_.fields.values() if field.type == "autonumber")


async def fill_autonumbers(
    object_: ObjectDef,
    values: Mapping[str, Value],
    session: Session,
    tenant: TenantId,
    now: str,
) -> dict[str, Value]:
    """`values` with a number in each autonumber field; numbers of a rollback leave gaps."""
    filled = dict(values)
    for field in autonumber_fields(object_):
        filled[field.name] = await _next(object_, field, filled, session, tenant=tenant, now=now)
    return filled


async def _next(
    object_: ObjectDef,
    field: FieldDef,
    values: Mapping[str, Value],
    session: Session,
    *,
    tenant: TenantId,
    now: str,
) -> str:
    template = field.format or f"{field.extra.get('prefix', '')}{{0}}"
    before, width, after, is_dynamic = "", 0, "", False
    position = 0
    for match in _PART.finditer(template):
        literal = template[position : match.start()]
        position = match.end()
        if not width:
            before += literal
        else:
            after += literal
        if _COUNTER.match(match[1]) and not width:
            width = len(match[1])
            continue
        text = _render(match[1], values, now)
        if width:
            after += text
        else:
            before += text
            is_dynamic = True
    tail = template[position:]
    if width:
        after += tail
    else:
        before += tail  # a format without a counter ends in one
        width = 1
    scope = f"{object_.name}.{field.name}" + (f":{before}" if is_dynamic else "")
    number = await session.next_sequence(tenant, scope)
    return f"{before}{number:0{width}}{after}"


def _render(token: str, values: Mapping[str, Value], now: str) -> str:
    if token == "YYYYMMDD":  # noqa: S105 - a date format
        return now[:10].replace("-", "")
    part = _DATE_PARTS.get(token)
    if part is not None:
        return now[part]
    value = values.get(token)
    return "" if value is None else str(value)
