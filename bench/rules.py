"""What permissions cost: reads under rules for rows and fields beside the same reads without.

Both callers get the same bytes: the rules grant every record that is asked for, and both name the
fields that the one may read. So what is left is the rules' own price.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import jwt

from bench.model import METHOD, Machine, Request, Rules, now
from bench.place import Place
from bench.rest import Contestant, Load, in_turn
from bench.scenarios import any_category, authorized, item_of, page_of
from bench.wrk import script

GOAL = 0.9
LOAD = Load(rounds=9, seconds=1)
"""Short rounds: what the two sides differ in is less than what a minute may bring."""

FIELDS = "name,category,status,quantity,price,active,notes,due_on,seen_at"
"""All that the restricted caller may read, beside what the system keeps."""

_YEAR_S = 365 * 24 * 3600


def restricted(place: Place) -> str:
    """The token of a caller for whom `item.permission.yml` has a rule of every kind."""
    secret = place.cluster.env["OQL_JWT_SECRET"]
    known = jwt.decode(place.token, secret, algorithms=["HS256"])
    claims = known | {"sub": "ann", "roles": ["reader"], "categories": ["c1", "c2", "c3"]}
    return jwt.encode(claims, secret, algorithm="HS256")


def scripts(token: str, rows: int) -> Mapping[str, str]:
    """The reads of one caller by name."""
    auth = authorized(token)
    select = f"&$select={FIELDS}"
    body = {
        "groupBy": ["status"],
        "aggregations": [
            {"function": "count", "alias": "n"},
            {"function": "avg", "field": "price", "alias": "mean"},
        ],
    }
    rest = json.dumps(body)[1:]
    where = f'\'{{"where": {{"category": "\' .. {any_category()} .. \'"}}, {rest}\''
    return {
        "get": script(
            "GET", f'"/api/item/" .. {item_of(rows)} .. "?$select={FIELDS}"', headers=auth
        ),
        "list of 20": script("GET", page_of(20, more=select), headers=auth),
        "list of 100": script("GET", page_of(100, more=select), headers=auth),
        "aggregate": script("POST", '"/api/item/aggregate"', where, auth),
    }


def measure(place: Place, load: Load) -> Rules:
    """Run everything; `place` is filled and without the cache."""
    machine = Machine.here()
    found: list[Request] = []
    free = scripts(place.token, load.rows)
    for name, ruled in scripts(restricted(place), load.rows).items():
        roots = place.serving()
        sides = in_turn(
            load,
            Contestant(place.url, ruled, roots),
            Contestant(place.url, free[name], roots),
        )
        found.append(Request(name, GOAL, None, *sides))
    return Rules(machine, now(), METHOD, found)
