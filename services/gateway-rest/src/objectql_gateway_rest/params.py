"""HTTP to `Query`: one parser for all surfaces, remembered per query string.

Parsing depends on nothing but the text (macros stay text until the kernel resolves them), so a
repeated URL costs one look-up.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from objectql.errors import (
    InvalidQuery,
    NotSupported,
    QueryParamUnknown,
)
from objectql.metadata.registry import MetadataSnapshot
from objectql.query.ast import Expand, Path, Query
from objectql.query.url import ExplainMode, parse_explain, parse_url
from objectql.service.data.names import check_object
from objectql.service.data.queries import limited
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.url_cache import Dialect, UrlRequest


def list_query(
    call: Call, object: str, dialect: Dialect, snapshot: MetadataSnapshot | None = None
) -> UrlRequest:
    """The query of a list request's URL, its page limited.

    The dialect `v1`, in which names of fields are parameters, needs the caller's `snapshot`.
    """
    query_string = call.request.query_string
    edition = 0 if snapshot is None else snapshot.edition
    key = (object, dialect, edition, query_string)
    cache = call.services.urls
    found = cache.get(key)
    if found is not None:
        return found
    fields: Collection[str] = ()
    if snapshot is not None and query_string:
        fields = snapshot.object(check_object(object)).fields
    parsed = parse_url(check_object(object), call.pairs(), dialect=dialect, fields=fields)
    if parsed.explain != "no" and dialect != "odata":
        raise NotSupported(feature="explain on this path")
    result = UrlRequest(
        query=limited(parsed.query, call.services.limits),
        is_wrapped=parsed.envelope,
        total=parsed.total,
        explain=parsed.explain,
    )
    cache.put(key, result)
    return result


def explain_mode(call: Call) -> ExplainMode:
    """What the `$explain` of a request with a body asks for."""
    mode: ExplainMode = "no"
    for name, text in call.pairs() if call.request.query_string else ():
        if name in {"$explain", "explain"}:
            mode = parse_explain(text)
    return mode


class Projection(msgspec.Struct, frozen=True):
    """What of one record is asked for."""

    fields: tuple[Path, ...] | None = None
    expand: tuple[Expand, ...] = ()
    is_wrapped: bool = False


_WHOLE = Projection()


def projection(
    call: Call, object: str, dialect: Dialect, snapshot: MetadataSnapshot | None = None
) -> Projection:
    """The `$select` and `$expand` of a request for one record.

    Raises:
        QueryParamUnknown: a parameter that only lists have.

    """
    if not call.request.query_string:
        return _WHOLE
    parsed = list_query(call, object, dialect, snapshot)
    query = parsed.query
    if parsed.explain != "no":
        raise NotSupported(feature="explain of one record; ask for it of the list")
    plain = Query(object=query.object, fields=query.fields, expand=query.expand, limit=query.limit)
    if query != plain or query.limit != call.services.limits.default_page:
        raise InvalidQuery(reason="one record is read with $select and $expand only")
    return Projection(query.fields, query.expand, parsed.is_wrapped)


def known_params(call: Call, *names: str) -> dict[str, str]:
    """The query parameters by name; of a repeated one the last.

    Raises:
        QueryParamUnknown: one that is not among `names`.

    """
    given = dict(call.pairs())
    for name in given:
        if name not in names:
            raise QueryParamUnknown(param=name[:100])
    return given


def flag(call: Call, name: str) -> bool:
    """The value of the only query parameter that a request may have: true or false.

    Raises:
        QueryParamUnknown: another parameter.
        InvalidQuery: neither true nor false.

    """
    value = False
    for key, text in call.pairs():
        if key != name:
            raise QueryParamUnknown(param=key[:100])
        if text not in {"true", "false"}:
            raise InvalidQuery(reason=f"{name} is true or false", path=name)
        value = text == "true"
    return value
