"""Queries as bodies, their pages limited."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from objectql.errors import TooManyRecords
from objectql.query.ast import Query
from objectql.query.parse import parse_query
from objectql.service.data.names import check_object


class Pages(Protocol):
    """How many records a page has where the caller does not say, and at most."""

    @property
    def default_page(self) -> int: ...
    @property
    def max_page(self) -> int: ...


def document_query(object: str, document: dict[str, Any], pages: Pages) -> Query:
    """The query that a body describes, its page limited."""
    return limited(parse_query(document, object=check_object(object)), pages)


def limited(query: Query, pages: Pages) -> Query:
    """`query` with a page size: the default, or the one asked for if it is allowed.

    Groups are not cut at the default: half of a report is a wrong report.

    Raises:
        TooManyRecords: more than a page holds.

    """
    if query.limit is None:
        size = pages.max_page if query.is_aggregate else pages.default_page
        return msgspec.structs.replace(query, limit=size)
    if query.limit > pages.max_page:
        raise TooManyRecords(requested=query.limit, max=pages.max_page)
    return query
