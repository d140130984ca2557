# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""What a good engineer writes by hand: FastAPI with asyncpg on the same table.

Explicit columns, a pool of 16, orjson where FastAPI would use the standard library, uvloop and
httptools, no response models, no validation beyond what the database does, no outbox, no
idempotency, no permissions. Related records are read in two ways: one statement per relation and
record, as an ORM does that is not told otherwise, and one join.
"""

from __future__ import annotations

import os  # the baseline is not part of the system
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any

import asyncpg
import orjson
from fastapi import FastAPI, Request, Response

COLUMNS = (
    "id, created_at, created_by, updated_at, updated_by, version, name, category, status, quantity, "
    "price, rating, active, notes, due_on, seen_at"
)
INSERT = f"""
    INSERT INTO item (tenant_id, id, created_at, created_by, updated_at, updated_by, version,
        name, category, status, quantity, price, rating, active, notes, due_on, seen_at)
    VALUES ('default', $1, now(), 'bench', now(), 'bench', 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    RETURNING {COLUMNS}
"""
GET = f"SELECT {COLUMNS} FROM item WHERE tenant_id = 'default' AND id = $1"
LIST = (
    f"SELECT {COLUMNS} FROM item WHERE tenant_id = 'default' AND category = $1 ORDER BY id LIMIT $2"
)
UPDATE = f"""
    UPDATE item SET quantity = $2, version = version + 1, updated_at = now()
    WHERE tenant_id = 'default' AND id = $1 RETURNING {COLUMNS}
"""
GROUP = """
    SELECT status, count(*) AS n, avg(price) AS mean FROM item
    WHERE tenant_id = 'default' AND category = $1 GROUP BY status ORDER BY status
"""
SYSTEM = ("id", "created_at", "created_by", "updated_at", "updated_by", "version")
SALE = (*SYSTEM, "region", "amount", "customer", "item")
CUSTOMER = (*SYSTEM, "name", "email", "city")
ITEM = tuple(COLUMNS.split(", "))
SALES = f"""
    SELECT {", ".join(SALE)} FROM sale
    WHERE tenant_id = 'default' AND region = $1 ORDER BY id LIMIT $2
"""
GET_CUSTOMER = f"SELECT {', '.join(CUSTOMER)} FROM customer WHERE tenant_id = 'default' AND id = $1"
JOINED = f"""
    SELECT {", ".join([f"s.{c}" for c in SALE] + [f"c.{c}" for c in CUSTOMER] + [f"i.{c}" for c in ITEM])}
    FROM sale AS s
    LEFT JOIN customer AS c ON c.tenant_id = s.tenant_id AND c.id = s.customer
    LEFT JOIN item AS i ON i.tenant_id = s.tenant_id AND i.id = s.item
    WHERE s.tenant_id = 'default' AND s.region = $1 ORDER BY s.id LIMIT $2
"""


async def leave_as_it_is(_connection: object) -> None:
    """Instead of the round trip with which asyncpg cleans a connection that is given back."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with asyncpg.create_pool(  # pyright: ignore[reportAttributeAccessIssue] - the stubs of this project lack it
        os.environ["BASELINE_PG_URL"], min_size=16, max_size=16
    ) as pool:
        app.state.pool = pool
        async with asyncpg.create_pool(  # pyright: ignore[reportAttributeAccessIssue]
            os.environ["BASELINE_PG_URL"], min_size=0, max_size=16, reset=leave_as_it_is
        ) as trusting:
            app.state.trusting = trusting
            yield


app = FastAPI(lifespan=lifespan)


def answer(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status_code=status, media_type="application/json")


@app.get("/item/{id}")
async def get(id: str) -> Response:
    row = await app.state.pool.fetchrow(GET, id)
    return answer(dict(row)) if row else answer({"error": "not found"}, 404)


@app.get("/item-without-reset/{id}")
async def get_without_reset(id: str) -> Response:
    row = await app.state.trusting.fetchrow(GET, id)
    return answer(dict(row)) if row else answer({"error": "not found"}, 404)


@app.get("/item")
async def list_(category: str, limit: int = 20) -> Response:
    rows = await app.state.pool.fetch(LIST, category, limit)
    return answer({"items": [dict(row) for row in rows]})


@app.post("/item")
async def create(request: Request) -> Response:
    body = orjson.loads(await request.body())
    row = await app.state.pool.fetchrow(
        INSERT,
        str(uuid.uuid4()),
        body["name"],
        body["category"],
        body["status"],
        body["quantity"],
        body["price"],
        body["rating"],
        body["active"],
        body["notes"],
        date.fromisoformat(body["due_on"]),
        datetime.fromisoformat(body["seen_at"]),
    )
    return answer(dict(row), 201)


@app.patch("/item/{id}")
async def update(id: str, request: Request) -> Response:
    body = orjson.loads(await request.body())
    row = await app.state.pool.fetchrow(UPDATE, id, body["quantity"])
    return answer(dict(row)) if row else answer({"error": "not found"}, 404)


@app.get("/groups")
async def groups(category: str) -> Response:
    rows = await app.state.pool.fetch(GROUP, category)
    return answer({"items": [dict(row) for row in rows]})


@app.get("/sales/one-by-one")
async def sales_one_by_one(region: str, limit: int = 50) -> Response:
    async with app.state.pool.acquire() as connection:  # one connection, or it would cost more yet
        items = [dict(row) for row in await connection.fetch(SALES, region, limit)]
        for item in items:
            customer = await connection.fetchrow(GET_CUSTOMER, item["customer"])
            item["customer"] = dict(customer) if customer else None
            related = await connection.fetchrow(GET, item["item"])
            item["item"] = dict(related) if related else None
    return answer({"items": items})


@app.get("/sales/joined")
async def sales_joined(region: str, limit: int = 50) -> Response:
    rows = await app.state.pool.fetch(JOINED, region, limit)
    first, second = len(SALE), len(SALE) + len(CUSTOMER)
    items: list[dict[str, Any]] = []
    for row in rows:
        values = tuple(row)
        item: dict[str, Any] = dict(zip(SALE, values[:first], strict=True))
        if item["customer"] is not None:
            item["customer"] = dict(zip(CUSTOMER, values[first:second], strict=True))
        if item["item"] is not None:
            item["item"] = dict(zip(ITEM, values[second:], strict=True))
        items.append(item)
    return answer({"items": items})
