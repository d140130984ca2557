"""`/api/v1/data/{object}/export`: all records that a query names, as a file."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from objectql.errors import InvalidQuery
from objectql.query.ast import Query
from objectql.query.url import parse_url
from objectql.service.data.exports import exported, pages
from objectql.service.data.names import check_object
from objectql.wire.messages import ExportReply, ExportRequest
from objectql_gateway_rest.asgi import Response, StreamedResponse
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.export_formats import chunks, csv_lines, json_array, workbook
from objectql_gateway_rest.routes import Route

_TYPES: Final = {
    "csv": b"text/csv; charset=utf-8",
    "json": b"application/json",
    "xlsx": b"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_OWN: Final = ("format", "header")
"""Parameters beside those of a list."""


async def export(call: Call, object: str) -> Response:
    """The records page by page, each page as of its own moment; the first one before the status."""
    own = _own_parameters(call)
    query = await _query(call, check_object(object))
    found = await _begun(_pages(call, query))
    format_ = own.get("format", "csv")
    has_header = own.get("header", "true") == "true"
    match format_:
        case "csv":
            parts = csv_lines(found, has_header=has_header)
        case "json":
            parts = json_array(found)
        case _:
            parts = _while_allowed(call, chunks(await workbook(found, has_header=has_header)))
    response = StreamedResponse(parts, content_type=_TYPES[format_])
    name = f'attachment; filename="{object}.{format_}"'
    response.headers.append((b"content-disposition", name.encode()))
    return response


def _own_parameters(call: Call) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in call.pairs():
        if name not in _OWN:
            continue
        if found.setdefault(name, text) != text:
            raise InvalidQuery(reason=f'"{name}" is given twice', path=name)
    if found.get("format", "csv") not in _TYPES:
        raise InvalidQuery(reason=f"format is one of {', '.join(_TYPES)}", path="format")
    if found.get("header", "true") not in {"true", "false"}:
        raise InvalidQuery(reason="header is true or false", path="header")
    return found


async def _query(call: Call, object: str) -> Query:
    """The query of the URL; its limit is of the whole export."""
    snapshot = await call.services.metadata.of(call.context.tenant)
    pairs = [(name, text) for name, text in call.pairs() if name not in _OWN]
    fields = snapshot.object(object).fields
    parsed = parse_url(object, pairs, dialect="v1", fields=fields)
    if parsed.explain != "no":
        raise InvalidQuery(reason="an export is of records, not of groups or plans")
    return exported(parsed.query)


def _pages(call: Call, query: Query) -> AsyncGenerator[ExportReply]:
    return pages(
        query,
        lambda page: call.read("export", ExportRequest(page), ExportReply),
        size=lambda: call.services.limits.max_page,
        go_on=call.go_on,
    )


async def _while_allowed(call: Call, parts: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """`parts` of what was made before; whoever reads slowly may lose the right to the rest."""
    async with aclosing(parts):
        async for part in parts:
            await call.go_on()
            yield part


async def _begun(found: AsyncGenerator[ExportReply]) -> AsyncGenerator[ExportReply]:
    """`found` after its first page is there, so that what is wrong with the query is told as ever."""
    first = await anext(found)

    async def all_of_them() -> AsyncGenerator[ExportReply]:
        yield first
        async for page in found:
            yield page

    return all_of_them()


ROUTES = (Route("GET", "/api/v1/data/{object}/export", export, "v1"),)
