"""A subscription after `bind`: what a record must satisfy, and what of it is told.

A kernel makes it with the caller's policy, as it binds a read; whoever matches events needs
nothing else. Where lookups are followed, `joins` says what must be known of other records.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

import msgspec

from objectql.context import Actor
from objectql.ids import ObjectName, TenantId
from objectql.live.forms import Form, form_of, own_field, predicate_of
from objectql.live.joins import Join, alone, joins_of
from objectql.metadata.masks import Mask
from objectql.query.bound import BoundQuery, ParamSource, Predicate
from objectql.query.tokens import is_token
from objectql.query.values_in import resolve
from objectql.values import Value


class LiveQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    """`form` is the filter with the caller's row rules; `outputs` are what the caller may read.

    Of those in `masks` the caller is shown what the mask makes.
    """

    tenant: TenantId
    object: ObjectName
    form: Form
    sources: tuple[ParamSource, ...]
    literals: tuple[Any, ...]
    outputs: tuple[str, ...]
    masks: dict[str, Mask] = {}
    timezone: str = "UTC"

    def where(self) -> Predicate:
        """What a record must satisfy; of the fields no more is known than how they are kept."""
        return predicate_of(self.form)

    def alone(self) -> Predicate:
        """What a record must satisfy whatever other records are like."""
        return alone(self.where())

    def joins(self) -> tuple[Join, ...]:
        """What of other records decides, too."""
        return joins_of(self.where())

    def params(self, actor: Actor, now_ms: int) -> tuple[Value, ...]:
        """The parameters of `where` for the caller.

        Raises:
            InvalidFilter: a literal does not fit its field.

        """
        return resolve(
            self.sources,
            self.literals,
            tenant=actor.tenant,
            actor=actor,
            now_ms=now_ms,
            timezone=self.timezone,
        )

    @property
    def is_timed(self) -> bool:
        """Whether the parameters depend on when they are asked for, as those of `{today}`."""
        constants = (source.constant for source in self.sources)
        return any(_has_token(value) for value in (*self.literals, *constants))


def _has_token(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_has_token(member) for member in cast("list[Any]", value))
    return isinstance(value, str) and is_token(value)


def live_query(
    bound: BoundQuery, tenant: TenantId, literals: tuple[Any, ...], *, timezone: str
) -> LiveQuery:
    """What is needed of `bound` to match events.

    Raises:
        NotSupported: it tells of other records, or follows lookups of those.

    """
    return LiveQuery(
        tenant=tenant,
        object=bound.object.name,
        form=form_of(bound.where),
        sources=tuple(_portable_source(source) for source in bound.params),
        literals=tuple(_portable(literal) for literal in literals),
        outputs=tuple(
            own_field(output.column).name
            for output in bound.outputs
            if output.column.formula is None  # an event holds what is stored
        ),
        masks={o.name: o.mask for o in bound.outputs if o.mask is not None},
        timezone=timezone,
    )


def _portable_source(source: ParamSource) -> ParamSource:
    """`source` with a constant that survives the journey, and is made canonical behind it."""
    return msgspec.structs.replace(source, constant=_portable(source.constant), is_settled=False)


def _portable(value: Any) -> Any:
    """`value` with its decimals as text: as numbers they would lose digits on the way."""
    if isinstance(value, list | tuple):
        return [_portable(member) for member in cast("list[Any]", value)]
    return str(value) if isinstance(value, Decimal) else value
