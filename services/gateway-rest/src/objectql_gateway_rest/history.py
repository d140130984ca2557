"""`/api/{object}/{id}/history`: what became of one record."""

from __future__ import annotations

from objectql.errors import InvalidQuery
from objectql.query.ast import Query
from objectql.service.data.names import check_id, check_object
from objectql.wire.messages import HistoryRequest, PageReply
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.params import list_query
from objectql_gateway_rest.representation import page_response
from objectql_gateway_rest.routes import Route


async def read_history(call: Call, object: str, id: str) -> Response:
    """A page of entries, the latest first."""
    request = HistoryRequest(check_object(object), check_id(object, id))
    if call.request.query_string:
        asked = list_query(call, object, "odata")
        query = asked.query
        if asked.explain != "no" or query != Query(object, limit=query.limit, after=query.after):
            raise InvalidQuery(reason="a history is read with $top and $after only")
        request = HistoryRequest(object, id, query.limit, query.after)
    return page_response(await call.read("history", request, PageReply))


ROUTES = (Route("GET", "/api/{object}/{id}/history", read_history),)
