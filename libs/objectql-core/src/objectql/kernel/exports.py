"""Exports: the pages of a find, for callers who may also take the records away."""

from __future__ import annotations

from objectql.errors import InvalidQuery
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.plugins.context import Api
from objectql.query.bound import count_name
from objectql.security.rules import EXPORT
from objectql.wire.messages import ExportReply, ExportRequest, FindRequest


async def export_page(
    request: ExportRequest, scope: Scope, reader: Reader, api: Api | None = None
) -> ExportReply:
    """One page, and the columns that all pages have for the caller.

    Raises:
        PermissionDenied: the caller may not read the object, or not export it.
        InvalidQuery: the query groups.
        ObjectUnknown, and whatever else is wrong with the query.

    """
    query = request.query
    scope.policy.check_read(scope.model.object(query.object))
    scope.policy.check(EXPORT, query.object)
    if query.is_aggregate:
        raise InvalidQuery(reason="an export is of records, not of groups")
    page = await reader.find(FindRequest(query), scope, api)
    bound = reader.planner.prepare(query, scope).prepared.plan.query
    columns = [output.name for output in bound.outputs]
    for relation in bound.expand:
        columns.append(relation.name)
        if relation.query.count != "none":
            columns.append(count_name(relation))
    return ExportReply(page.items, page.count, tuple(columns), page.next)
