"""Records shared by hand: who is given what is a list in the record itself.

So a share is written, read, cached, exported, told to events and deleted as the rest of the record
is, in the same transaction and place. What the entries grant is said by the `manual` sharing rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from objectql.errors import Issue, NotSupported, ValidationFailed
from objectql.ids import is_record_id
from objectql.kernel.json import decode_json
from objectql.metadata.model import SHARES, ObjectDef

MAX_SHARES: Final = 100
"""Of one record. Whole groups are better shared with by a rule."""

KINDS: Final = ("user", "role", "team")


def check_shareable(object_: ObjectDef) -> None:
    """Return if records of the object are shared by hand.

    Raises:
        NotSupported: no sharing rule of its permission file is `manual`.

    """
    field = object_.fields.get(SHARES)
    if field is None or not field.system:
        raise NotSupported(feature=f"sharing records of {object_.name} by hand")


def with_share(
    object_: ObjectDef, shares: Sequence[str], principal: str, level: str | None
) -> list[str]:
    """`shares` with `principal` at `level`, or without.

    Raises:
        ValidationFailed: nobody can be called so, or there are too many shares.

    """
    kind, _, id_ = principal.partition(":")
    if kind not in KINDS or not is_record_id(id_):
        raise _refused(object_, "invalid_principal", f"one of {', '.join(KINDS)}, and an id")
    kept = [share for share in shares if share.partition(":")[2] != principal]
    if level is not None:
        kept.append(f"{level}:{principal}")
    if len(kept) > max(MAX_SHARES, len(shares)):
        raise _refused(object_, "too_many_shares", f"a record has at most {MAX_SHARES} shares")
    return sorted(kept)


def _refused(object_: ObjectDef, code: str, message: str) -> ValidationFailed:
    return ValidationFailed(object=object_.name, issues=(Issue("principal", code, message),))


def told_shares(record: bytes) -> dict[str, Any]:
    """The shares of a record for clients: `{"items": [{"type", "id", "level"}]}`."""
    items: list[dict[str, str]] = []
    for share in decode_json(record).get(SHARES) or ():
        level, kind, id_ = str(share).split(":", 2)
        items.append({"type": kind, "id": id_, "level": level})
    return {"items": items}
