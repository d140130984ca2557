"""One text over several objects: the newest matches of each."""

from __future__ import annotations

from typing import Any

from objectql.errors import InvalidRequest, PermissionDenied
from objectql.kernel.json import encode_json
from objectql.kernel.planning import Scope
from objectql.kernel.read import Reader
from objectql.metadata.model import ObjectDef
from objectql.metadata.offered import check_offered, offers
from objectql.query.ast import Query, Search, Sort
from objectql.query.scope import Visibility
from objectql.wire.messages import JsonReply, SearchRequest

MAX_PER_OBJECT = 25
MAX_HITS = 200


async def search(request: SearchRequest, scope: Scope, reader: Reader) -> JsonReply:
    """`{query, hits: [{object, id, title, record}], totalObjects, totalHits, truncated}`.

    Objects that the caller may not read, or of whose texts nothing may be asked, are left out when
    none were named.

    Raises:
        InvalidRequest: there is nothing to search for.
        ObjectUnknown, PermissionDenied: for an object that was named.
    """
    if not request.text.strip():
        raise InvalidRequest(reason="a search needs a text")
    per_object = max(1, min(request.per_object, MAX_PER_OBJECT))
    limit = max(1, min(request.limit, MAX_HITS))
    hits: list[dict[str, Any]] = []
    truncated = False
    objects = _searched(request, scope)
    for object_ in objects:
        query = Query(
            object=object_.name,
            search=Search(request.text),
            order_by=(Sort(("created_at",), descending=True),),
            limit=per_object + 1,
        )
        rows = await reader.rows(query, scope)
        truncated = truncated or len(rows) > per_object
        hits += [_hit(object_, row) for row in rows[:per_object]]
    truncated = truncated or len(hits) > limit
    body = {
        "query": request.text,
        "hits": hits[:limit],
        "totalObjects": len({hit["object"] for hit in hits}),
        "totalHits": len(hits),
        "truncated": truncated,
    }
    return JsonReply(body=encode_json(body))


def _searched(request: SearchRequest, scope: Scope) -> list[ObjectDef]:
    if request.objects:
        named = [scope.model.object(name) for name in request.objects]
        for object_ in named:
            check_offered(object_, "search")
            scope.policy.check_read(object_)
        return named
    found: list[ObjectDef] = []
    visibility = Visibility(scope.model.snapshot, scope.policy)
    for object_ in scope.model.snapshot.objects.values():
        if not object_.enable.searchable or not _has_text(object_):
            continue
        if not offers(object_, "search"):
            continue
        try:
            scope.policy.check_read(object_)
        except PermissionDenied:
            continue
        if visibility.searched(object_):
            found.append(object_)
    return found


def _has_text(object_: ObjectDef) -> bool:
    return any(field.searchable for field in object_.fields.values())


def _hit(object_: ObjectDef, row: dict[str, Any]) -> dict[str, Any]:
    title = row.get(object_.name_field) if object_.name_field else None
    return {
        "object": object_.name,
        "id": row["id"],
        "title": str(title) if title is not None else row["id"],
        "record": row,
    }
