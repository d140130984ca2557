"""Tokens that stand for a value of the moment or the caller: `{today}`, `{current_user_id}`.

Days are days of the business time zone; a token of minutes or hours, and `{now}`, is an instant.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, cast
from zoneinfo import ZoneInfo

from objectql.context import Actor
from objectql.query.words import near_misses
from objectql.values import Value, instant_of_ms

_TOKEN = re.compile(r"\{[a-z0-9_.]+\}\Z|\{current_user\.[A-Za-z0-9_.]+\}\Z")
_DISTANCE = re.compile(r"(\d{1,6})_(minute|hour|day|week|month|year)s?_(ago|from_now)\Z")
_PERIOD = re.compile(r"(?:(current|last|next)_)?(week|month|quarter|year)_(start|end)\Z")
_USER_PREFIXES = ("$current_user.", "current_user.")
_NAMES = (
    "now today yesterday tomorrow current_user_id 7_days_ago 30_days_from_now month_start"
    " current_week_start current_month_end last_quarter_start next_year_end"
).split()


def is_token(text: str) -> bool:
    """Whether `text` is written like a token; cheap for texts that are not."""
    first = text[:1]
    if first == "{":
        return _TOKEN.match(text) is not None
    return (first == "$" and text.startswith("$current_user.")) or text == "@me"


def resolve_token(text: str, *, actor: Actor, now_ms: int, timezone: str) -> Value:
    """The value of a token: a day, an instant, or a fact of the caller (None if it has none).

    Raises:
        ValueError: no such token, or a date beyond the calendar.

    """
    name = text.strip("{}")
    if text == "@me" or name in {"current_user_id", "user_id"}:
        return actor.id
    for prefix in _USER_PREFIXES:
        if name.startswith(prefix):
            return user_fact(actor, name.removeprefix(prefix))
    try:
        return _resolve_moment(name, now_ms, timezone)
    except OverflowError as exc:
        raise ValueError(f"{text} is beyond the calendar") from exc


READ_SHARES: Final = "shares.read"
EDIT_SHARES: Final = "shares.edit"
"""Facts in rules: the entries of `model.SHARES` by which a record is shared with the caller, to
read it or to edit it. No claim can be called so, since these come first."""


def _shares(actor: Actor, *levels: str) -> list[Value]:
    teams = actor.claims.get("teams")
    principals = [f"user:{actor.id}", *(f"role:{role}" for role in actor.roles)]
    if isinstance(teams, list | tuple):
        principals += [f"team:{team}" for team in cast("list[Any]", teams) if isinstance(team, str)]
    return [f"{level}:{principal}" for level in levels for principal in principals]


def user_fact(actor: Actor, name: str) -> Value:
    """`id`, `roles`, or a claim of the caller's token by its dotted path; None where there is none."""
    match name:
        case "id":
            return actor.id
        case "roles":
            return list(actor.roles)
        case _ if name == READ_SHARES:
            return _shares(actor, "read", "edit")
        case _ if name == EDIT_SHARES:
            return _shares(actor, "edit")
        case _ if name in actor.claims:
            return cast("Value", actor.claims[name])
        case _:
            value: Any = actor.claims
            for part in name.split("."):
                value = cast("dict[str, Any]", value).get(part) if isinstance(value, dict) else None
            return value


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _resolve_moment(name: str, now_ms: int, timezone: str) -> str:
    if name == "now":
        return instant_of_ms(now_ms)
    today = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(_zone(timezone)).date()
    match name:
        case "today":
            return today.isoformat()
        case "yesterday":
            return (today - timedelta(days=1)).isoformat()
        case "tomorrow":
            return (today + timedelta(days=1)).isoformat()
        case _:
            pass
    if found := _DISTANCE.match(name):
        count = int(found[1]) * (-1 if found[3] == "ago" else 1)
        return _at_distance(today, now_ms, count, found[2])
    if found := _PERIOD.match(name):
        first = _period_start(today, found[2], {"last": -1, "next": 1}.get(found[1] or "", 0))
        if found[3] == "start":
            return first.isoformat()
        return (_period_start(first, found[2], 1) - timedelta(days=1)).isoformat()
    near = near_misses(name, _NAMES)
    hint = f"; did you mean {{{near[0]}}}?" if near else ""
    raise ValueError(f"{{{name}}} is not a known token{hint}")


def _at_distance(today: date, now_ms: int, count: int, unit: str) -> str:
    match unit:
        case "minute" | "hour":
            moment = datetime.fromtimestamp(now_ms // 1000, UTC)
            moment += timedelta(**{f"{unit}s": count})
            return f"{moment:%Y-%m-%dT%H:%M:%S}.{now_ms % 1000:03}Z".rjust(24, "0")
        case "day":
            return (today + timedelta(days=count)).isoformat()
        case "week":
            return (today + timedelta(weeks=count)).isoformat()
        case _:
            return _add_months(today, count * (12 if unit == "year" else 1)).isoformat()


def _add_months(day: date, months: int) -> date:
    """The same day of another month, or its last day where that has fewer."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _period_start(day: date, unit: str, shift: int) -> date:
    """The first day of the week (Monday), month, quarter or year `shift` ones from `day`'s."""
    match unit:
        case "week":
            return day - timedelta(days=day.weekday()) + timedelta(weeks=shift)
        case "month":
            return _add_months(day.replace(day=1), shift)
        case "quarter":
            return _add_months(day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1), shift * 3)
        case _:
            return _add_months(day.replace(month=1, day=1), shift * 12)
