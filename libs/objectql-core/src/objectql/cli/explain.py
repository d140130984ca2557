"""`objectql explain`: what becomes of a query, of a running gateway or of metadata files alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

from objectql.cli.requests import send
from objectql.drivers.sql.dialect_postgres import POSTGRES
from objectql.drivers.sql.lower import lower
from objectql.metadata.build import build_snapshot
from objectql.metadata.loader import load_directory
from objectql.query.bind import bind
from objectql.query.cursor import page_digest
from objectql.query.explain import Explanation, explain
from objectql.query.plan import make_plan
from objectql.query.policy import AllowAll
from objectql.query.template import extract
from objectql.query.url import parse_url


def explain_online(
    url: str, token: str, object_name: str, parameters: Mapping[str, str], *, analyze: bool
) -> Explanation:
    """What the gateway at `url` (`http://...`) says.

    Raises:
        Refused: it refuses the query, cannot be reached, or is no HTTP URL.

    """
    asked = {**parameters, "$explain": "analyze" if analyze else "true"}
    path = f"/api/{quote(object_name, safe='')}?{urlencode(asked)}"
    return Explanation(send(url, token, "GET", path))


def explain_offline(
    directories: list[Path], object_name: str, parameters: Mapping[str, str]
) -> Explanation:
    """What becomes of the query of an administrator on Postgres; no database is asked.

    Raises:
        MetadataInvalid, ObjectUnknown, and whatever is wrong with the query.

    """
    documents = [item for directory in directories for item in load_directory(directory).items]
    snapshot = build_snapshot(documents, version=1)
    query = parse_url(object_name, list(parameters.items()), dialect="odata").query
    template, _, places = extract(query)
    bound = bind(template, snapshot, AllowAll(), places=places)
    plan = make_plan(bound, digest=page_digest(template))
    return explain(template, bound, plan, native=lower(plan.query, POSTGRES).text)
