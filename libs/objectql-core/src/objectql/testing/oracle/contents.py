"""Random values and records, and literals to compare them with.

Values are few and close together, so that comparisons hit, ties occur and groups have members;
among them are those on which databases are known to disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from random import Random
from typing import Any, Final, cast

from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.types import Storage
from objectql.testing.samples import SampleSchema
from objectql.values import Record, Value

_WORDS: Final = (
    *("", " ", "a", "A", "ab", "aB", "AB", "b", "a b", " a", "a ", "z", "Z", "_", "100%", "a%b"),
    *("a_b", "a\\b", "\\", "\\%", "'", "''", '"', "a'b\"c", "--", "/* */", "$1", "?", ":p", "{}"),
    *("*", "[a]", "a*b", "^", "NULL", "null", "true", "1", "10", "9", "1e3", "\t", "a\nb", "\x01"),
    # Case pairs and what is none: sharp s, long s, Kelvin sign, dotted and dotless i, Greek sigma.
    *("ß", "ẞ", "ss", "SS", "ſ", "K", "k", "K", "İ", "ı", "i", "I", "σ", "ς", "Σ", "é", "É"),
    # The same to people: composed, decomposed, full width; then Angstrom and a with ring.
    *("e\u0301", "E\u0301", "\uff41", "Å", "Å", "ﬁ", "fi", "\u200b", "a\u0301\u0323"),
    # Beyond the basic plane, where the order of UTF-16 is not that of code points.
    *("😀", "👩‍👩‍👧", "👍🏽", "👍", "\U0010fffd", "\uffee", "\ue000", "中文", "中", "ا", "אב"),
)
_DAYS: Final = tuple(
    "0001-01-01 0999-12-31 1582-10-10 1899-12-31 1900-02-28 1969-12-31 1970-01-01 2000-02-29"
    " 2024-02-29 2024-12-30 2025-12-29 2026-01-01 2026-01-31 2026-03-29 2026-03-31 2026-07-27"
    " 2026-07-28 2026-07-29 2026-10-25 2026-12-31 2038-01-19 9999-12-31".split()
)
_CLOCKS: Final = (
    "00:00:00",
    "00:00:00.001",
    "09:00:00",
    "14:30:00",
    "14:30:00.500",
    "23:59:59.999",
)
_MOMENTS: Final = ("00:00:00.000", "02:30:00.000", "12:00:00.500", "23:59:59.999")
_OFFSETS: Final = ("Z", "+00:00", "+05:30", "-08:00", "+13:45")
_WHOLES: Final = (0, 1, -1, 2, 3, 9, 10, -10, 100, 2**31, -(2**31) - 1, 2**53, -(2**53))
_FLOATS: Final = (
    0.0,
    -0.0,
    0.1,
    0.2,
    0.30000000000000004,
    1 / 3,
    1e15,
    1e-7,
    5e-324,
    1e300,
    -1e300,
)
_STRUCTURES: Final[Sequence[Any]] = (
    *({}, [], {"b": 1, "a": None}, [1, [2, {"c": "é😀"}]], {"": "\\\"'"}, "text", 0, 1.5, False),
)
TAGS: Final = ("red", "Red", "green", "a,b", 'qu"ote', "é", "", "1")
_TOKENS: Final = (
    "{today} {yesterday} {tomorrow} {7_days_ago} {1_month_ago} {3_years_from_now} {month_start}"
    " {current_week_start} {last_quarter_end} {next_year_start} {now} {36_hours_ago}"
).split()


class Loose(dict[str, Any]):
    """A JSON object whose keys have no order: databases may keep them in another one."""


def value_of(rng: Random, definition: FieldDef) -> Value:
    """A canonical value of a field, never null."""
    if definition.options:
        values = [str(option.value) for option in definition.options]
        if definition.storage is Storage.LIST:
            return cast("Value", rng.sample(values, rng.randint(0, 3)))
        return rng.choice(values)
    match definition.storage:
        case Storage.INTEGER:
            return rng.randint(-3, 5) if rng.random() < 0.7 else rng.choice(_WHOLES)
        case Storage.FLOAT:
            # Multiples of a quarter, whose sums are exact in every order; see `is_calm`.
            if is_calm(definition) or rng.random() < 0.6:
                return rng.randint(-8, 12) / 4
            return rng.choice(_FLOATS)
        case Storage.DECIMAL:
            return _decimal(rng, 2 if definition.scale is None else definition.scale)
        case Storage.BOOLEAN:
            return rng.random() < 0.5
        case Storage.DATE:
            return rng.choice(_DAYS)
        case Storage.DATETIME:
            return f"{rng.choice(_DAYS)}T{rng.choice(_MOMENTS)}Z"
        case Storage.TIME:
            return rng.choice(_CLOCKS)
        case Storage.LIST:
            return cast("Value", rng.sample(TAGS, rng.randint(0, 3)))
        case Storage.JSON:
            structure = rng.choice(_STRUCTURES)
            return _loosened(structure)
        case _:
            return text_of(rng)


def text_of(rng: Random) -> str:
    """A word, or two, or a long text."""
    if rng.random() < 0.7:
        return rng.choice(_WORDS)
    return rng.choice(_WORDS) + rng.choice(_WORDS) * (100 if rng.random() < 0.02 else 1)


def is_calm(definition: FieldDef) -> bool:
    """Whether sums of the field are the same in every order: no doubles of very unequal size."""
    return definition.storage is not Storage.FLOAT or definition.type != "number"


def _decimal(rng: Random, scale: int) -> Decimal:
    if rng.random() < 0.8:
        return Decimal(rng.randint(-300, 500)).scaleb(-min(scale, 2))
    return Decimal(rng.choice((1, -1, 5, 10**15 - 1, -(10**15) + 1, 10**15))).scaleb(-scale)


def _loosened(value: Any) -> Any:
    match value:
        case dict():
            members = cast("dict[str, Any]", value)
            return Loose({key: _loosened(member) for key, member in members.items()})
        case list():
            return [_loosened(member) for member in cast("list[Any]", value)]
        case _:
            return value


# --- records ------------------------------------------------------------------------------------


def random_rows(
    rng: Random, schema: SampleSchema, objects: Sequence[str], max_size: int = 10
) -> dict[str, list[Record]]:
    """Records by object: every stored key, lookups to records that exist or null."""
    ids = {name: [f"{name[:1]}{n}" for n in range(rng.randint(0, max_size))] for name in objects}
    return {
        name: [random_record(rng, schema.object(name), id_, ids) for id_ in ids[name]]
        for name in objects
    }


def random_record(
    rng: Random, definition: ObjectDef, id_: str, ids: Mapping[str, Sequence[str]]
) -> Record:
    """A record of an object; `ids` are those that lookups may point to, by object."""
    record: Record = {}
    for item in definition.stored_fields:
        match item.name:
            case "id":
                record[item.name] = id_
            case "created_at" | "updated_at":
                record[item.name] = value_of(rng, item)
            case "created_by" | "updated_by":
                record[item.name] = rng.choice((None, "u1", "u2"))
            case "version":
                record[item.name] = rng.randint(1, 3)
            case "deleted_at" if item.system:
                record[item.name] = value_of(rng, item) if rng.random() < 0.25 else None
            case _ if item.reference is not None:
                known = ids[item.reference]
                if item.multiple:
                    found = rng.sample(known, rng.randint(0, min(3, len(known))))
                    record[item.name] = None if rng.random() < 0.2 else cast("Value", found)
                else:
                    is_null = not known or rng.random() < 0.2
                    record[item.name] = None if is_null else rng.choice(known)
            case _:
                record[item.name] = None if rng.random() < 0.2 else value_of(rng, item)
    return record


# --- literals -----------------------------------------------------------------------------------


def literal_of(
    rng: Random, definition: FieldDef, known: Sequence[Record], *, is_bound: bool = False
) -> Any:
    """What a request may write to compare with the field: mostly a value of `known` records.

    `is_bound`: it is the end of a range, which may also lie between two whole numbers.
    """
    value = None
    if known and rng.random() < 0.6:
        value = rng.choice(known).get(definition.name)
    if value is None:
        value = value_of(rng, definition)
    if is_bound and definition.storage is Storage.INTEGER and rng.random() < 0.2:
        assert isinstance(value, int)
        return value + 0.5 if abs(value) < 2**50 else value
    return _as_written(rng, definition.storage, value)


def _as_written(rng: Random, storage: Storage, value: Value) -> Any:
    kind = rng.random()
    match storage:
        case Storage.INTEGER:
            return str(value) if kind < 0.2 else value
        case Storage.FLOAT:
            return repr(value) if kind < 0.2 else value
        case Storage.DECIMAL:
            assert isinstance(value, Decimal)
            if kind < 0.1:
                return f"{value}1" if "." in f"{value:f}" else f"{value:f}.1"
            if kind < 0.2 and abs(value) < 10**6:
                return float(value)
            return f"{value:f}" if kind < 0.6 else value
        case Storage.BOOLEAN:
            return str(value).lower() if kind < 0.1 else value
        case Storage.DATE:
            return rng.choice(_TOKENS) if kind < 0.15 else value
        case Storage.DATETIME:
            assert isinstance(value, str)
            if kind < 0.15:
                return rng.choice(_TOKENS)
            if kind < 0.35:
                return value[:10]
            is_inside = "1000" < value[:4] < "9999"
            return value[:-1] + rng.choice(_OFFSETS) if kind < 0.6 and is_inside else value
        case Storage.TIME:
            assert isinstance(value, str)
            return value[:5] if kind < 0.2 else value
        case _:
            return value
