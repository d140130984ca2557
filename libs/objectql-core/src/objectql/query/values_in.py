"""Literals of a request to canonical values: the parameters that drivers bind.

This is the only stage where a cached plan may still fail for the caller's reasons: a literal that
does not fit its field. It runs once per parameter of every request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, cast

import msgspec

from objectql.context import Actor
from objectql.errors import InvalidFilter, InvalidQuery
from objectql.metadata.types import Storage
from objectql.query.bound import ParamSource
from objectql.query.cursor import decode_cursor
from objectql.query.merges import combine
from objectql.query.search_words import has_word
from objectql.query.tokens import is_token, resolve_token, user_fact
from objectql.values import (
    MAX_SAFE_INTEGER,
    Value,
    canonical_date,
    canonical_instant,
    canonical_time,
    instant_of_ms,
    is_day,
)

_NOBODY = Actor(id="")
_MOMENTS = {"now": 24, "today": 10}
"""Facts of the request that are the beginning of its instant, and how much of it."""
_MAX_EXPONENT = 400
_MAX_TEXT = 64 * 1024


def resolve(
    sources: Sequence[ParamSource],
    literals: Sequence[Any],
    *,
    tenant: str,
    actor: Actor,
    now_ms: int,
    timezone: str = "UTC",
    places: Sequence[str] = (),
) -> tuple[Value, ...]:
    """One canonical value for each source, in order.

    `literals` and `places` come from `template.extract`. `timezone` is the business time zone, in
    which `{today}` and its kin are days.

    Raises:
        InvalidFilter: a literal does not fit its field, with its place.
        InvalidQuery: a cursor or an offset that is none.

    """
    values: list[Value] = []
    for source in sources:
        if source.slot is not None:
            literal = literals[source.slot]
        elif source.context is not None:
            values.append(_context_value(source, tenant, actor, now_ms))
            continue
        elif source.of:
            values.append(combine(source, values))
            continue
        elif source.is_settled:
            settled = source.constant
            is_list = isinstance(settled, tuple)
            values.append(list(cast("tuple[Any, ...]", settled)) if is_list else settled)
            continue
        else:
            literal = source.constant
        # The commonest case by far: plain text for a text field.
        if (
            type(literal) is str
            and source.storage is Storage.TEXT
            and source.shape == "scalar"
            and literal[:1] not in "{$@"
            and len(literal) <= _MAX_TEXT
            and literal.isascii()
            and literal.isprintable()
        ):
            values.append(literal)
            continue
        try:
            values.append(_resolve_one(source, literal, actor, now_ms, timezone))
        except ValueError as exc:
            place = source.at
            if source.slot is not None and source.slot < len(places):
                place = places[source.slot]
            if source.shape == "cursor":
                raise InvalidQuery(reason=f"the cursor is damaged: {exc}", path="after") from exc
            raise InvalidFilter(reason=str(exc), path=place) from exc
    return tuple(values)


def settled(source: ParamSource) -> ParamSource:
    """`source` with its constant in canonical form, so that no request has to find it.

    As it is where it has none, where the constant depends on the moment, or has no such form:
    whoever resolves it will tell.
    """
    given: Any = source.constant
    members = cast("Sequence[Any]", given) if isinstance(given, tuple | list) else (given,)
    is_literal = source.constant is not None and source.shape in ("scalar", "list")
    is_moment = not source.verbatim and any(type(m) is str and is_token(m) for m in members)
    if not is_literal or is_moment:
        return source
    try:
        value = _resolve_one(source, given, _NOBODY, 0, "UTC")
    except ValueError:
        return source
    constant = tuple(value) if isinstance(value, list) else value
    return msgspec.structs.replace(source, constant=constant, is_settled=True)


def _context_value(source: ParamSource, tenant: str, actor: Actor, now_ms: int) -> Value:
    name = source.context or ""
    if name == "tenant":
        return tenant
    if name in _MOMENTS:
        return instant_of_ms(now_ms)[: _MOMENTS[name]]
    return fact_as(actor, name.removeprefix("user."), source.storage, source.shape)


def fact_as(actor: Actor, name: str, storage: Storage, shape: str = "scalar") -> Value:
    """A fact of the caller as the storage keeps it, or None: tokens may say anything."""
    value = user_fact(actor, name)
    # The commonest fact by far: an id.
    if (
        type(value) is str
        and storage is Storage.TEXT
        and shape == "scalar"
        and len(value) <= _MAX_TEXT
        and value.isascii()
        and value.isprintable()
    ):
        return value
    if shape != "list":
        return _fitting(value, storage)
    if not isinstance(value, list | tuple):
        return None
    if storage is Storage.TEXT and _are_plain(cast("Sequence[Any]", value)):
        return list(value)
    members = (_fitting(member, storage) for member in value)
    return [member for member in members if member is not None]


def _are_plain(members: Sequence[Any]) -> bool:
    """Whether all are text in canonical form; one look at many, as lists of roles or teams are long."""
    try:
        text = "".join(members)
    except TypeError:
        return False
    return len(text) <= _MAX_TEXT and text.isascii() and text.isprintable()


def _fitting(value: Any, storage: Storage) -> Value:
    """The canonical form, or None where it has none."""
    if value is None:
        return None
    try:
        return coerce(value, storage)
    except ValueError:
        return None


def _resolve_one(
    source: ParamSource, literal: Any, actor: Actor, now_ms: int, timezone: str
) -> Value:
    def value_of(item: Any) -> Value:
        is_moment = False
        if type(item) is str and not source.verbatim and is_token(item):
            item = resolve_token(item, actor=actor, now_ms=now_ms, timezone=timezone)
            is_moment = True
        if item is None:
            return None
        storage = source.storage
        if is_moment and storage is Storage.DATE and isinstance(item, str) and not is_day(item):
            item = item[:10]  # `{now}` on a date field is its day
        if source.day_end and isinstance(item, str) and is_day(item):
            return f"{canonical_date(item)}T23:59:59.999Z"
        if storage is Storage.INTEGER and source.round != "exact":
            return _rounded(item, source.round)
        return coerce(item, storage)

    match source.shape:
        case "cursor":
            keys = decode_cursor(literal, source.digest)
            part = source.part or 0
            if part >= len(keys):
                raise ValueError("a sort key is missing")
            return None if keys[part] is None else coerce(keys[part], source.storage)
        case "labels":
            folded = fold_ascii(str(literal))
            return [value for label, value in source.options if folded in fold_ascii(label)]
        case "labels_by_word":
            return [value for label, value in source.options if has_word(label, str(literal))]
        case "list":
            return [value_of(item) for item in literal if item is not None]
        case _:
            return value_of(literal if source.part is None else literal[source.part])


def coerce(value: Any, storage: Storage) -> Value:
    """The canonical form of a comparand for a field that keeps values as `storage`.

    Raises:
        ValueError: it has none.

    """
    match storage:
        case Storage.TEXT:
            return _text(value)
        case Storage.INTEGER:
            return _integer(value)
        case Storage.FLOAT:
            return _float(value)
        case Storage.DECIMAL:
            return _decimal(value)
        case Storage.BOOLEAN:
            if isinstance(value, bool):
                return value
            if value in ("true", "false"):
                return value == "true"
            raise ValueError(f"{value!r:.40} is neither true nor false")
        case Storage.DATE:
            return canonical_date(_moment(value, "a date"))
        case Storage.DATETIME:
            return canonical_instant(_moment(value, "a date and time"))
        case Storage.TIME:
            return canonical_time(_moment(value, "a time of day"))
        case _:
            raise ValueError(f"values of this field ({storage}) do not compare")


def fold_ascii(text: str) -> str:
    """`text` with A-Z in lower case and every other character as it is."""
    return text.translate(_FOLD)


_FOLD = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is not text")  # noqa: TRY004 - one kind to catch
    if "\0" in value:
        raise ValueError("text cannot hold the character NUL")
    if len(value) > _MAX_TEXT:
        raise ValueError(f"a comparand has at most {_MAX_TEXT} characters")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise ValueError("text cannot hold half a surrogate pair") from exc
    return value


def _number(value: Any) -> int | float | Decimal:
    if isinstance(value, str):
        try:
            number = Decimal(value) if value.isascii() and "_" not in value else None
        except InvalidOperation:
            number = None
        if number is None:
            raise ValueError(f"{value!r:.40} is not a number")
        value = number
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"{value!r:.40} is not a number")  # noqa: TRY004
    if not math.isfinite(value):
        raise ValueError("a number must be finite")
    if isinstance(value, Decimal) and abs(value.adjusted()) > _MAX_EXPONENT:
        raise ValueError("the number is out of range")
    return value


def _integer(value: Any) -> int:
    number = _number(value)
    whole = int(number)
    if whole != number:
        raise ValueError(f"{value!r:.40} is not a whole number")
    return _safe(whole)


def _rounded(value: Any, how: str) -> int:
    number = _number(value)
    return _safe(math.floor(number) if how == "floor" else math.ceil(number))


def _safe(whole: int) -> int:
    if not -MAX_SAFE_INTEGER <= whole <= MAX_SAFE_INTEGER:
        raise ValueError("an integer beyond 2^53 is not exact")
    return whole


def _float(value: Any) -> float:
    try:
        number = float(_number(value))
    except OverflowError as exc:
        raise ValueError("the number is out of range") from exc
    if not math.isfinite(number):
        raise ValueError("the number is out of range")
    return number


def _decimal(value: Any) -> Decimal:
    number = _number(value)
    # The shortest text of a float is what its writer meant: 0.1, not 0.1000000000000000055.
    return Decimal(repr(number)) if isinstance(number, float) else Decimal(number)


def _moment(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40} is not {what}")  # noqa: TRY004
    return value
