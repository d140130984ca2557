"""A small schema, and the whole query pipeline in one call, for tests and experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from objectql.context import Actor
from objectql.errors import ObjectUnknown
from objectql.ids import FieldName, ObjectName
from objectql.metadata.model import Features, FieldDef, Formula, ObjectDef, Option, system_fields
from objectql.query.ast import Query
from objectql.query.bind import bind
from objectql.query.cursor import encode_cursor, page_digest
from objectql.query.interpret import Answer, interpret
from objectql.query.optimize import optimize
from objectql.query.parse import parse_query
from objectql.query.policy import AccessPolicy, AllowAll
from objectql.query.template import extract
from objectql.query.values_in import resolve

NOW_MS = 1_785_240_000_000  # 2026-07-28T12:00:00Z
ACTOR = Actor(id="u1", claims={"region": "west"})


def field(name: str, type: str, **more: Any) -> FieldDef:
    """A field; `more` are its other keys."""
    return FieldDef(name=FieldName(name), type=type, **more)


def object_def(name: str, *fields: FieldDef, trash: bool = False, **more: Any) -> ObjectDef:
    """An object with system fields and `fields`; `trash` makes deletion soft."""
    every = (*system_fields(soft_delete=trash), *fields)
    return ObjectDef(
        name=ObjectName(name),
        fields={item.name: item for item in every},
        enable=Features(trash=trash),
        **more,
    )


class SampleSchema:
    """A `query.bind.Schema` over a few objects."""

    def __init__(self, *objects: ObjectDef) -> None:
        self._objects = {str(item.name): item for item in objects}

    @property
    def objects(self) -> tuple[ObjectDef, ...]:
        """Every object, in the order given."""
        return tuple(self._objects.values())

    def object(self, name: str, /) -> ObjectDef:
        if name not in self._objects:
            raise ObjectUnknown(object=name)
        return self._objects[name]

    def inverse_lookups(self, object: str, /) -> tuple[tuple[ObjectDef, FieldDef], ...]:
        return tuple(
            (child, item)
            for child in self._objects.values()
            for item in child.fields.values()
            if item.reference == object
        )


OWNER = object_def("owner", field("name", "text"), field("salary", "number"))
ACCOUNT = object_def(
    "account",
    field("name", "text"),
    field("tier", "select"),
    field("owner", "lookup", reference=ObjectName("owner")),
    field("secret_note", "secret"),
    name_field=FieldName("name"),
)
INVOICE = object_def(
    "invoice",
    field("number", "text"),
    field(
        "status",
        "select",
        options=(Option("paid", "Settled"), Option("sent", "Sent"), Option("draft", "Draft")),
    ),
    field("total", "currency"),
    field("score", "number"),
    field("lines", "number", scale=0),
    field("late", "boolean"),
    field("issued", "date"),
    field("sent_at", "datetime"),
    field("tags", "tags"),
    field("extra_data", "json"),
    field("margin", "formula", formula=Formula("total * 0.2", data_type="currency")),
    field("account", "lookup", reference=ObjectName("account")),
    field("payers", "lookup", reference=ObjectName("account"), multiple=True),
    trash=True,
)
SCHEMA = SampleSchema(OWNER, ACCOUNT, INVOICE)

Rows: TypeAlias = Mapping[str, Sequence[dict[str, Any]]]


def run_query(
    query: Query,
    rows: Rows,
    *,
    schema: SampleSchema = SCHEMA,
    policy: AccessPolicy | None = None,
    timezone: str = "UTC",
    optimized: bool = True,
) -> Answer:
    """The answer to `query` over `rows` of the tenant, through every stage after `parse`."""
    extracted = extract(query)
    bound = bind(extracted.template, schema, policy or AllowAll(), places=extracted.places)
    if optimized:
        bound = optimize(bound)
    params = resolve(
        bound.params,
        extracted.literals,
        tenant="default",
        actor=ACTOR,
        now_ms=NOW_MS,
        timezone=timezone,
        places=extracted.places,
    )
    return interpret(bound, params, lambda of, _tenant: rows.get(of.name, ()))


def run(
    document: Mapping[str, Any],
    rows: Rows,
    *,
    object: str = "invoice",
    schema: SampleSchema = SCHEMA,
    policy: AccessPolicy | None = None,
    timezone: str = "UTC",
    optimized: bool = True,
) -> Answer:
    """The answer to a query document over `rows`, through every stage."""
    return run_query(
        parse_query(document, object=object),
        rows,
        schema=schema,
        policy=policy,
        timezone=timezone,
        optimized=optimized,
    )


def ids(answer: Answer) -> list[Any]:
    """The ids of the items, in order."""
    return [item["id"] for item in answer.items]


def cursor_after(query: Query, answer: Answer) -> str:
    """The cursor of the page that follows `answer`."""
    template = extract(query).template
    return encode_cursor(page_digest(template), msgspec.json.encode(answer.last_key))
