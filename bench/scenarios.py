"""The requests, as wrk Lua, for both contestants.

Reads are measured without the result cache: every one of them reaches Postgres, as the baseline's
do. Writes and the rows named `cached` are measured with it, so writes pay for keeping it right.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from bench.place import CATEGORIES, REGIONS
from bench.wrk import script

HOT = 1_000
"""So many records are asked for again and again in the cached rows."""

BODY = {
    "name": "Bench",
    "category": "new",
    "status": "open",
    "quantity": 7,
    "price": 9.5,
    "rating": 4.5,
    "active": True,
    "notes": "made by the benchmark",
    "due_on": "2026-05-01",
    "seen_at": "2026-05-01T10:00:00+00:00",
}


class Scenario(NamedTuple):
    """One kind of request; `goal` is the least ratio wanted, `beyond` the one hoped for."""

    name: str
    ours: str
    baseline: str
    goal: float | None = None
    beyond: float | None = None
    cached: bool = False


def authorized(token: str) -> str:
    """The headers of a request of ours, in Lua."""
    return f'["Authorization"] = "Bearer {token}"'


def item_of(rows: int) -> str:
    """The id of any of the first `rows` items, in Lua."""
    return f'string.format("i%06d", math.random(1, {rows}))'


def any_category(categories: int = CATEGORIES) -> str:
    """In Lua."""
    return f'"c" .. math.random(0, {categories - 1})'


def page_of(top: int, object: str = "item", category: str | None = None, more: str = "") -> str:
    """The path of a page of a category, in Lua."""
    chosen = category or any_category()
    where = f'"/api/{object}?$filter=category%20eq%20%27" .. {chosen} .. "%27'
    return f'{where}&$orderby=id&$top={top}{more}"'


def scenarios(token: str, rows: int) -> list[Scenario]:
    """Design §8's list; those without the cache first."""
    auth = authorized(token)
    keyed = auth + ', ["Idempotency-Key"] = "k" .. os.time() .. "-" .. math.random(1, 1e15)'
    item, hot = item_of(rows), item_of(min(HOT, rows))
    category = any_category()
    region = f'"r" .. math.random(0, {REGIONS - 1})'
    made = f"[=[{json.dumps(BODY)}]=]"
    changed = '\'{"quantity": \' .. math.random(1, 1e9) .. "}"'
    sales = f'"/api/sale?$filter=region%20eq%20%27" .. {region} .. "%27&$orderby=id&$top=50'
    expanded = script("GET", sales + '&$expand=customer,item"', headers=auth)
    group = (
        f'\'{{"where": {{"category": "\' .. {category} .. \'"}}, "groupBy": ["status"], '
        '"aggregations": [{"function": "count", "alias": "n"}, '
        '{"function": "avg", "field": "price", "alias": "mean"}]}\''
    )

    def get(id: str) -> tuple[str, str]:
        ours = script("GET", f'"/api/item/" .. {id}', headers=auth)
        return ours, script("GET", f'"/item/" .. {id}')

    def page(top: int) -> tuple[str, str]:
        ours = script("GET", page_of(top), headers=auth)
        return ours, script("GET", f'"/item?limit={top}&category=" .. {category}')

    def create(headers: str) -> tuple[str, str]:
        ours = script("POST", '"/api/item"', made, headers)
        return ours, script("POST", '"/item"', made)

    def sales_by(way: str) -> str:
        return script("GET", f'"/sales/{way}?limit=50&region=" .. {region}')

    return [
        Scenario("get", *get(item), 1.2, 1.5),
        Scenario(
            "get, against a pool without reset",
            get(item)[0],
            script("GET", f'"/item-without-reset/" .. {item}'),
        ),
        Scenario("list of 20", *page(20), 1.8, 2.0),
        Scenario("list of 100", *page(100), 2.0, 2.5),
        Scenario(
            "aggregate",
            script("POST", '"/api/item/aggregate"', group, auth),
            script("GET", f'"/groups?category=" .. {category}'),
            1.0,
            1.2,
        ),
        Scenario("expand 2 of 50, against one by one", expanded, sales_by("one-by-one"), 5.0),
        Scenario("expand 2 of 50, against a join", expanded, sales_by("joined")),
        Scenario("create", *create(keyed), 0.9, 1.4, cached=True),
        Scenario("create, no key", *create(auth), 0.9, 1.4, cached=True),
        Scenario(
            "update",
            script("PATCH", f'"/api/item/" .. {item}', changed, keyed),
            script("PATCH", f'"/item/" .. {item}', changed),
            0.9,
            1.1,
            cached=True,
        ),
        Scenario("cached get", *get(hot), 1.5, 2.0, cached=True),
        Scenario("cached list of 20", *page(20), cached=True),
        Scenario("get that misses the cache", *get(item), cached=True),
    ]
