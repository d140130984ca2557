"""Hypothesis strategies over `objectql.testing.oracle`: random schemas, rows and queries.

The generators draw from a `random.Random`. Queries draw from hypothesis's own, so that every choice
becomes one that it can shrink. Schemas and records make too many choices for that to be quick:
they come from one number each.
"""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from hypothesis import strategies as st

from objectql.metadata.model import FieldDef
from objectql.query.ast import Query
from objectql.testing.oracle.contents import literal_of, random_rows
from objectql.testing.oracle.filters import World
from objectql.testing.oracle.queries import Kind, random_query
from objectql.testing.oracle.schemas import fixed_schema, random_schema
from objectql.testing.samples import SampleSchema
from objectql.values import Record

__all__ = ["Case", "cases", "comparands", "queries", "worlds"]


class Case(NamedTuple):
    """A query over rows by object name."""

    schema: SampleSchema
    rows: dict[str, list[Record]]
    query: Query


def worlds(*, fixed: bool = False) -> st.SearchStrategy[World]:
    """A schema (`fixed`: always `fixed_schema`) with records."""

    @st.composite
    def draw_world(draw: st.DrawFn) -> World:
        rng = Random(draw(st.integers(0, 2**32)))  # noqa: S311 - examples, not secrets
        schema = fixed_schema() if fixed else random_schema(rng)
        return World(schema, random_rows(rng, schema, [o.name for o in schema.objects]))

    return draw_world()


@st.composite
def cases(draw: st.DrawFn, kind: Kind = "any", *, fixed: bool = False) -> Case:
    """A schema (`fixed`: always `fixed_schema`), rows and a query over them."""
    world = draw(worlds(fixed=fixed))
    rng = draw(st.randoms(use_true_random=False))
    return Case(world.schema, world.rows, random_query(rng, world, kind=kind))


def queries(kind: Kind = "any") -> st.SearchStrategy[Query]:
    """Queries over the objects of `fixed_schema`."""
    return cases(kind, fixed=True).map(lambda case: case.query)


def comparands(definition: FieldDef) -> st.SearchStrategy[Any]:
    """Literals for a field as a request may write them."""
    rngs = st.randoms(use_true_random=False)
    return rngs.map(lambda rng: literal_of(rng, definition, ()))
