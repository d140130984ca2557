"""URL parameters of all three dialects to `Query`.

One parser serves every REST surface: the union of the names of all generations is understood
everywhere. Only the `v1` dialect also reads a bare field name as a filter (`?status=open`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeAlias, cast

import msgspec

from objectql.errors import FieldUnknown, InvalidFilter, InvalidQuery, QueryParamUnknown
from objectql.query.ast import And, Compare, Filter, Op, Query
from objectql.query.expand_text import parse_expand_text
from objectql.query.filter_text import parse_filter_text
from objectql.query.parse import parse_query, parse_where
from objectql.query.words import MAX_MEMBERS, QUERY_KEYS, near_misses

Dialect: TypeAlias = Literal["odata", "v1", "objectql"]

ExplainMode: TypeAlias = Literal["no", "plan", "analyze"]

_OWN_KEYS = ("page", "pageSize", "page_size", "envelope", "explain", "$explain")
_LIST_KEYS = frozenset({"fields", "expand", "order_by", "group_by", "aggregations", "having"})
_JSON_KEYS = _LIST_KEYS | {"search"}
_MAX_PARAMS = 100


class UrlQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a URL asks for.

    `envelope` wraps a single record; `explain` asks for the plan instead of the answer; `total`
    is what the URL says about counting, None when it says nothing.
    """

    query: Query
    envelope: bool = False
    explain: ExplainMode = "no"
    total: bool | None = None


def parse_url(
    object: str,
    pairs: Sequence[tuple[str, str]],
    *,
    dialect: Dialect,
    fields: Collection[str] = (),
) -> UrlQuery:
    """The query in the decoded parameters `pairs`.

    `fields` are the names that a bare parameter of the `v1` dialect may be.

    Raises:
        QueryParamUnknown: a parameter that means nothing here.
        FieldUnknown: (`v1`) a parameter that is neither a keyword nor a field.
        InvalidQuery, InvalidFilter, QueryTooExpensive

    """
    document: dict[str, Any] = {}
    bare: dict[str, list[str]] = {}
    own: dict[str, str] = {}
    where: Filter | None = None
    if len(pairs) > _MAX_PARAMS:
        raise InvalidQuery(reason=f"a URL has at most {_MAX_PARAMS} parameters")
    for name, text in pairs:
        key = QUERY_KEYS.get(name)
        if name in _OWN_KEYS:
            own[name.removeprefix("$")] = text
        elif key is None:
            _check_bare(object, name, dialect, fields)
            bare.setdefault(name, []).append(text)
        elif key == "where":
            found = _parse_filter(text, name)
            if where is not None and where != found:
                raise InvalidQuery(reason=f'"{name}" contradicts another filter', path=name)
            where = found
        elif text:
            value = _parse_value(key, text, name)
            if key in document and document[key] != value:
                raise InvalidQuery(reason=f'"{name}" is given twice', path=name)
            document[key] = value
    _apply_pages(document, own)
    query = parse_query(document, object=object)
    conditions = [*([where] if where is not None else []), *_bare_filters(bare)]
    if conditions:
        joined = conditions[0] if len(conditions) == 1 else And(tuple(conditions))
        query = msgspec.structs.replace(query, where=None if joined == And(()) else joined)
    return UrlQuery(
        query=query,
        envelope=_parse_flag(own, "envelope"),
        explain=parse_explain(own.get("explain", "false")),
        total=None if "count" not in document else query.count != "none",
    )


def _check_bare(object_: str, name: str, dialect: Dialect, fields: Collection[str]) -> None:
    known = [key for key in (*QUERY_KEYS, *_OWN_KEYS) if key.startswith("$") is (name[:1] == "$")]
    if name.startswith("$") or dialect != "v1":
        raise QueryParamUnknown(param=name[:100], suggestions=near_misses(name, known))
    if name not in fields:
        raise FieldUnknown(
            object=object_, field=name[:100], suggestions=near_misses(name, [*fields, *known])
        )


def _parse_filter(text: str, name: str) -> Filter:
    stripped = text.strip()
    if not stripped:
        raise InvalidFilter(reason="the filter is empty", path=name)
    if stripped[0] in "{[":
        return parse_where(_parse_json(stripped, name), name)
    return parse_filter_text(stripped)


def _parse_value(key: str, text: str, name: str) -> Any:
    stripped = text.strip()
    if (stripped[:1] == "{" and key in _JSON_KEYS) or (stripped[:1] == "[" and key in _LIST_KEYS):
        return _parse_json(stripped, name)
    if key == "expand":
        return parse_expand_text(stripped, name)
    return text if key == "search" else stripped


def _parse_json(text: str, name: str) -> Any:
    try:
        # Not msgspec: integers keep their digits, so that those beyond 2^53 are seen and refused.
        return json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as exc:
        raise InvalidQuery(reason=f"the JSON cannot be read: {exc}", path=name) from exc


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of two values of one key neither could be meant alone."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'the key "{twice[:40]}" stands twice in one object')
    return found


def _apply_pages(document: dict[str, Any], own: dict[str, str]) -> None:
    """`page` (from 1) and `pageSize` as limit and offset."""
    size = own.get("pageSize", own.get("page_size"))
    if size is not None:
        if "limit" in document and document["limit"] != size:
            raise InvalidQuery(reason='"pageSize" contradicts the limit', path="pageSize")
        document["limit"] = size
    page = own.get("page")
    if page is None:
        return
    limit = cast("str | None", document.get("limit"))
    if "offset" in document:
        raise InvalidQuery(reason='"page" contradicts the offset', path="page")
    if not (page.isascii() and page.isdigit() and len(page) < 8 and int(page) > 0):
        raise InvalidQuery(reason="page is a whole number from 1 on", path="page")
    if limit is None or not (limit.isascii() and limit.isdigit() and len(limit) < 8):
        raise InvalidQuery(reason="page needs a pageSize", path="page")
    document["offset"] = (int(page) - 1) * int(limit)


def _bare_filters(bare: dict[str, list[str]]) -> list[Filter]:
    """Equality for one value; membership for a repeated parameter or a comma list."""
    found: list[Filter] = []
    for name, texts in bare.items():
        if any("[object Object]" in text for text in texts):
            raise InvalidFilter(
                reason="an operator does not fit into a URL parameter; use filter=<JSON> or POST"
                " the query",
                path=name,
            )
        values = texts[0].split(",") if len(texts) == 1 else texts
        if len(values) > MAX_MEMBERS:
            raise InvalidFilter(reason=f"at most {MAX_MEMBERS} values", path=name)
        path = (name,)
        if len(values) == 1:
            found.append(Compare(path, Op.EQ, values[0], None, name))
        else:
            found.append(Compare(path, Op.IN, tuple(values), None, name))
    return found


def parse_explain(text: str) -> ExplainMode:
    """What the value of `$explain` asks for.

    Raises:
        InvalidQuery: nothing that there is.

    """
    if text == "analyze":
        return "analyze"
    return "plan" if _parse_flag({"explain": text}, "explain") else "no"


def _parse_flag(own: dict[str, str], name: str) -> bool:
    text = own.get(name, "false")
    if text not in {"true", "false"}:
        raise InvalidQuery(reason=f"{name} is true or false", path=name)
    return text == "true"
