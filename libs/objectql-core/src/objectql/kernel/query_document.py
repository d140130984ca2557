"""A query as the JSON document that hooks see and may change; the inverse of `query.parse`."""

from __future__ import annotations

from typing import Any

from objectql.query.ast import Aggregation, And, Compare, Expand, Filter, Not, Or, Query
from objectql.query.words import DOLLAR_OF


def query_document(query: Query) -> dict[str, Any]:
    """The document that `parse_query` reads back as `query`. `where` is there even when empty."""
    document: dict[str, Any] = {"where": {} if query.where is None else where_document(query.where)}
    if query.fields is not None:
        document["fields"] = [".".join(path) for path in query.fields]
    if query.search is not None:
        document["search"] = {"query": query.search.text}
        if query.search.fields:
            document["search"]["fields"] = list(query.search.fields)
        if query.search.mode != "substring":
            document["search"]["mode"] = query.search.mode
    if query.order_by:
        document["orderBy"] = [
            {"field": ".".join(s.path), "order": "desc" if s.descending else "asc"}
            for s in query.order_by
        ]
    if query.limit is not None:
        document["limit"] = query.limit
    if query.offset:
        document["offset"] = query.offset
    if query.after is not None:
        document["after"] = query.after
    if query.expand:
        document["expand"] = {e.name: _expand_document(e) for e in query.expand}
    if query.group_by:
        document["groupBy"] = [
            {"field": ".".join(g.path), "dateGranularity": g.granularity, "alias": g.alias}
            for g in query.group_by
        ]
    if query.aggregations:
        document["aggregations"] = [_aggregation_document(a) for a in query.aggregations]
    if query.having is not None:
        document["having"] = where_document(query.having)
    if query.distinct:
        document["distinct"] = True
    if query.count != "none":
        document["count"] = query.count
    if query.include_deleted:
        document["includeDeleted"] = True
    return document


def where_document(node: Filter) -> dict[str, Any]:
    """A filter in the object form."""
    if isinstance(node, And):
        return {"$and": [where_document(item) for item in node.items]}
    if isinstance(node, Or):
        return {"$or": [where_document(item) for item in node.items]}
    if isinstance(node, Not):
        return {"$not": where_document(node.item)}
    return {".".join(node.path): {DOLLAR_OF[node.op]: _comparand(node)}}


def _comparand(node: Compare) -> Any:
    return node.value if node.ref is None else {"$field": ".".join(node.ref)}


def _expand_document(item: Expand) -> dict[str, Any]:
    document = query_document(item.query)
    if not document["where"]:
        del document["where"]
    return document


def _aggregation_document(item: Aggregation) -> dict[str, Any]:
    document: dict[str, Any] = {"function": item.function}
    if item.path is not None:
        document["field"] = ".".join(item.path)
    if item.alias:
        document["alias"] = item.alias
    if item.filter is not None:
        document["filter"] = where_document(item.filter)
    return document
