"""What a statement for Postgres may be made of, shown on its parse tree.

The tree is that of Postgres's own parser (libpg_query through pglast). A statement is proven to
hold nothing of a caller: every string in it is a name of the metadata or one of a closed list of
formats, every number is small, and every table, column and function is one we know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, Final, cast

import msgspec
from pglast.parser import parse_sql_json

from objectql.drivers.sql.lower import MAX_COUNTED
from objectql.metadata.model import ObjectDef
from objectql.query.search_words import MAX_SEARCHED, MAX_WORD, TRANSLATED
from objectql.testing.oracle.queries import LIMITS

FORMATS: Final = frozenset(
    {
        *("[", "]", ",", "[]", "", ".000", "UTF8", "UTC", "HH24:MI:SS.MS", ", "),
        *('YYYY-MM-DD"T"HH24:MI:SS.MS"Z"', "YYYY-MM-DD", 'IYYY-"W"IW', "YYYY-MM", 'YYYY-"Q"Q'),
        "YYYY",
        *(*TRANSLATED, f"([^ ]{{{MAX_WORD}}})", "\\1 ", "g", " "),
    }
)
"""Strings of our own in read statements; `''` says that LIKE has no escape character."""

FUNCTIONS: Final = frozenset(
    "count sum avg min max bool_and bool_or to_char replace array_agg array_to_string string_agg"
    " json_agg json_build_array json_build_object row_to_json to_jsonb jsonb_array_elements_text"
    " convert_to coalesce least length right strpos lower starts_with timezone like_escape"
    " substr left translate regexp_replace array_to_tsvector array_remove string_to_array unnest".split()
)
TYPES: Final = frozenset(
    "text int8 int4 bool float8 numeric date timestamp timestamptz time json jsonb bytea tsquery".split()
)
_NUMBERS: Final = frozenset(
    {
        0,
        1,
        2,
        -1,
        MAX_SEARCHED,
        MAX_COUNTED + 1,
        *(limit + extra for limit in LIMITS if limit is not None for extra in (0, 1)),
    }
)
_INTERNAL: Final = re.compile(
    r"(?:[a-z]\d+|anon_\d+|\.\d+|c\d+|0|item|items|count|has_next|last_key|total|json|id|position|tenant_id)\Z"
)
_FORBIDDEN: Final = frozenset({"intoClause", "lockingClause", "withClause"})


class StatementProof:
    """Checks the read statements over `objects`; `checked` counts them."""

    def __init__(self, objects: Iterable[ObjectDef]) -> None:
        self._objects = tuple(objects)
        self._seen: set[str] = set()

    @property
    def checked(self) -> int:
        """How many different statements were shown to be sound."""
        return len(self._seen)

    def check(self, text: str) -> None:
        """Return when `text` holds only parameters and known names.

        Raises:
            AssertionError: with what else it holds.

        """
        if text in self._seen:
            return
        strangers = sorted(set(self._strangers(text)))
        assert not strangers, f"{strangers} in a statement:\n{text}"
        self._seen.add(text)

    @cached_property
    def _tables(self) -> frozenset[str]:
        return frozenset(object_.table or object_.name for object_ in self._objects)

    @cached_property
    def _fields(self) -> frozenset[str]:
        return frozenset(str(name) for object_ in self._objects for name in object_.fields)

    def _strangers(self, text: str) -> Iterator[str]:
        tree = msgspec.json.decode(parse_sql_json(text))
        kinds = [str(kind) for statement in tree["stmts"] for kind in statement["stmt"]]
        if kinds != ["SelectStmt"]:
            yield "another statement than one SELECT"
        for kind, node in nodes_of(tree):
            yield from self._judged(kind, node)

    def _judged(self, kind: str, node: dict[str, Any]) -> Iterator[str]:
        match kind:
            case "A_Const":
                yield from self._judged_constant(node)
            case "RangeVar":
                if node.get("schemaname") or node["relname"] not in self._tables:
                    yield f"table {node['relname']}"
            case "ColumnRef":
                for part in node["fields"]:
                    name = part.get("String", {}).get("sval", "*")
                    if name != "*" and not self._is_name(name):
                        yield f"column {name}"
            case "ResTarget" if "name" in node:
                if not self._is_output(node["name"]):
                    yield f"output {node['name']}"
            case "FuncCall":
                name = node["funcname"][-1]["String"]["sval"]
                if name not in FUNCTIONS:
                    yield f"function {name}"
            case "TypeName":
                name = node["names"][-1]["String"]["sval"]
                if name not in TYPES:
                    yield f"type {name}"
            case "SelectStmt":
                yield from _FORBIDDEN & set(node)
            case _:
                pass

    def _judged_constant(self, node: dict[str, Any]) -> Iterator[str]:
        if "sval" in node:
            text = node["sval"].get("sval", "")
            if text not in FORMATS and not self._is_output(text):
                yield f"text {text!r}"
        elif "ival" in node:
            number = node["ival"].get("ival", 0)
            if number not in _NUMBERS:
                yield f"number {number}"
        elif "isnull" not in node and "boolval" not in node:
            yield f"constant {node}"

    def _is_name(self, name: str) -> bool:
        return (
            name in self._fields
            or name in self._tables
            or _INTERNAL.match(name) is not None
            or self._is_output(name)
        )

    def _is_output(self, name: str) -> bool:
        """A path of fields, a relation, or an alias of a group."""
        if _INTERNAL.match(name) or re.match(r"(?:g\d|Group\.\d|x\d|c-?\d)\Z", name):
            return True
        parts = name.split(".")
        return all(part in self._fields for part in parts) or self._is_related_list(name)

    def _is_related_list(self, name: str) -> bool:
        return name in self._tables or any(
            name == f"{table}_{field}" for table in self._tables for field in self._fields
        )


def nodes_of(tree: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of a parse tree with its kind."""
    todo: list[Any] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            todo += cast("list[Any]", node)
            continue
        for key, value in cast("dict[str, Any]", node).items():
            if isinstance(value, dict):
                if (kind := _KINDS.get(key)) is not None:
                    yield kind, cast("dict[str, Any]", value)
                todo.append(value)
            elif isinstance(value, list):
                todo.append(value)


_JUDGED: Final = ("A_Const", "RangeVar", "ColumnRef", "ResTarget", "FuncCall", "SelectStmt")
_KINDS: Final = {name: name for name in _JUDGED} | {
    "typeName": "TypeName",
    "larg": "SelectStmt",
    "rarg": "SelectStmt",
}
"""Kinds by the key under which a node stands; some stand under a name of their own."""
