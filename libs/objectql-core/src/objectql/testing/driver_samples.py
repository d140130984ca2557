"""Objects, writes and queries that the driver suite is made of."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from objectql.drivers.protocol import (
    Driver,
    Idempotency,
    Page,
    RecordImage,
    Remembered,
    RowWrite,
    WriteOutcome,
    WriteScope,
)
from objectql.drivers.sql.postgres import PostgresDriver
from objectql.ids import FieldName, ObjectName, TenantId, uuid7
from objectql.metadata.masks import Mask
from objectql.metadata.model import FieldDef, IndexDef, ObjectDef, system_fields
from objectql.metadata.types import Storage
from objectql.query.bound import (
    BoundQuery,
    Column,
    Order,
    Output,
    Param,
    ParamSource,
    Test,
    TestOp,
)
from objectql.values import Value

ACME = TenantId("acme")
ZOO = TenantId("zoo")
AT = "2026-03-01T10:00:00.000Z"
LATER = "2026-03-01T11:30:00.250Z"


def make_object(name: str, *fields: FieldDef, **more: Any) -> ObjectDef:
    """An object with the system fields around `fields`."""
    system = system_fields()
    every = (system[0], *fields, *system[1:])
    return ObjectDef(name=ObjectName(name), fields={f.name: f for f in every}, **more)


def field(name: str, type_: str, **more: Any) -> FieldDef:
    """A field."""
    return FieldDef(name=FieldName(name), type=type_, **more)


CUSTOMERS = make_object(
    "customers",
    field("name", "text"),
    field("email", "email", unique=True),
    field("city", "text"),
    field("code", "text"),
    indexes=(IndexDef("by_place", (FieldName("city"), FieldName("code")), unique=True),),
)
ORDERS = make_object(
    "orders",
    field("customer", "lookup", reference=ObjectName("customers")),
    field("number", "text"),
    field("total", "currency"),
    field("quantity", "number", scale=0),
    field("weight", "number"),
    field("paid", "boolean"),
    field("day", "date"),
    field("due", "datetime"),
    field("pickup", "time"),
    field("tags", "tags"),
    field("extra", "json"),
    field("pin", "password"),
    table="shop_orders",
)
OBJECTS = (CUSTOMERS, ORDERS)


def insert(object_: ObjectDef, id_: str, *, at: str = AT, **values: Value) -> RowWrite:
    """A write that creates a record."""
    audit: dict[str, Value] = {
        "id": id_,
        "version": 1,
        "created_at": at,
        "updated_at": at,
        "created_by": "ann",
        "updated_by": "ann",
    }
    return RowWrite("insert", object_, id_, uuid7(), at, {**audit, **values})


def update(
    object_: ObjectDef,
    id_: str,
    *,
    expected: int | None = None,
    add: dict[str, Value] | None = None,
    **values: Value,
) -> RowWrite:
    """A write that changes a record."""
    audit: dict[str, Value] = {"updated_at": LATER, "updated_by": "bob"}
    return RowWrite(
        "update", object_, id_, uuid7(), LATER, {**values, **audit}, add or {}, expected
    )


def delete(object_: ObjectDef, id_: str, *, expected: int | None = None) -> RowWrite:
    """A write that deletes a record."""
    return RowWrite("delete", object_, id_, uuid7(), LATER, expected_version=expected)


def scope(tenant: TenantId = ACME) -> WriteScope:
    """A scope with everything set, of a batch whose size nobody knows yet."""
    return WriteScope(tenant, "ann", "req-1", "00-trace-01", uuid7(), 0)


def by_id(object_: ObjectDef, *, limit: int | None = None) -> BoundQuery:
    """All records of a tenant in the order of their ids."""
    return BoundQuery(
        object=object_,
        tenant=Param(0),
        outputs=tuple(Output(f.name, Column(f)) for f in object_.readable_fields),
        order=(Order(Column(object_.fields[FieldName("id")])),),
        limit=limit,
        params=(ParamSource(Storage.TEXT, context="tenant"),),
    )


MASKS = (
    "{last4}",
    "****-{last4}",
    "{first1}***",
    "it's {first2}…{last2}\"\\%s:x",
    "***",
    "{first99}",
)


async def masked(
    driver: Driver, object_: ObjectDef, names: list[str], mask: Mask
) -> list[dict[str, Any]]:
    """The fields `names` of all records of `ACME` as `mask` shows them, beside the id."""
    every = by_id(object_)
    shown = tuple(
        msgspec.structs.replace(output, mask=mask if output.name in names else None)
        for output in every.outputs
        if output.name in ("id", *names)
    )
    query = driver.lower(msgspec.structs.replace(every, outputs=shown))
    return msgspec.json.decode((await driver.fetch(query, (ACME,))).items)


def one_by_id(object_: ObjectDef) -> BoundQuery:
    """The record whose id is parameter 1."""
    every = by_id(object_, limit=1)
    id_ = Column(object_.fields[FieldName("id")])
    return msgspec.structs.replace(
        every,
        where=Test(id_, TestOp.EQ, Param(1)),
        params=(*every.params, ParamSource(Storage.TEXT, slot=0)),
    )


EXAMPLES: dict[str, tuple[Value, Value, Value]] = {
    "number": ("a,b", 'quote " \\ {é}', "NULL"),
    "total": (Decimal("1.50"), Decimal("-0.01"), Decimal(2)),
    "quantity": (1, 2**53, -1),
    "weight": (0.1, -1e300, 0.25),
    "day": ("2026-02-28", "0001-01-01", "9999-12-31"),
    "due": (AT, LATER, "0099-12-31T23:59:59.999Z"),
    "pickup": ("14:30:00", "23:59:59.999", "00:00:00"),
}
"""Three values of fields of `ORDERS`, one of each way to keep them that can be indexed."""


def equal_to(object_: ObjectDef, name: str, *, limit: int) -> BoundQuery:
    """The records whose field `name`, which counts as indexed, is parameter 1."""
    fields = dict(object_.fields)
    field_ = fields[FieldName(name)] = msgspec.structs.replace(fields[FieldName(name)], index=True)
    every = by_id(msgspec.structs.replace(object_, fields=fields), limit=limit)
    return msgspec.structs.replace(
        every,
        where=Test(Column(field_), TestOp.EQ, Param(1)),
        params=(*every.params, ParamSource(field_.storage, slot=0)),
    )


def as_json(text: bytes | None) -> Any:
    """The decoded image."""
    assert text is not None
    return msgspec.json.decode(text)


async def write(driver: Driver, *writes: RowWrite, tenant: TenantId = ACME) -> list[WriteOutcome]:
    """The outcomes of writes without a key."""
    outcomes = await driver.write(writes, scope(tenant))
    assert not isinstance(outcomes, Remembered)
    return list(outcomes)


async def read(
    driver: Driver, object_: ObjectDef, id_: str, tenant: TenantId = ACME
) -> RecordImage | None:
    """The record as a read outside any transaction sees it."""
    return await driver.fetch_one(driver.lower(one_by_id(object_)), (tenant, id_))


async def ids(driver: Driver, object_: ObjectDef, tenant: TenantId = ACME) -> list[str]:
    """The ids of all records."""
    page: Page = await driver.fetch(driver.lower(by_id(object_)), (tenant,))
    return [item["id"] for item in msgspec.json.decode(page.items)]


def key(name: str = "k1", body: bytes = b"body", principal: str = "ann") -> Idempotency:
    """The identity of a request."""
    return Idempotency(ACME, principal, name, body)


def own_fields(object_: ObjectDef) -> list[FieldDef]:
    """The fields that are not system fields."""
    return [f for f in object_.fields.values() if not f.system]


class OnPurpose(Exception):
    """Raised by tests inside transactions."""


async def count_inserts(driver: Driver) -> None:
    """Let a server count what was inserted last; by itself it may take ten seconds to do so."""
    if isinstance(driver, PostgresDriver):
        await driver.read("SELECT pg_stat_force_next_flush()")
