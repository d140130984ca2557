"""Which subscriptions an event concerns, at a cost that follows the matches.

Subscriptions of one tenant and object whose predicates have the same shape, row rules included,
form a group; those with equal parameters too are evaluated once. Within a group they are found by
the values that they compare for equality (`terms`), so an event looks at those that can match, and
at those of which nothing is compared for equality. What a predicate means is `query.matching`'s
to say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, NoReturn, TypeAlias, TypeVar

import msgspec

from objectql.events import ChangeEvent
from objectql.ids import ObjectName, TenantId
from objectql.live.images import EventImages, Image
from objectql.live.joins import fields_of
from objectql.live.query import LiveQuery
from objectql.query.bound import AllOf, AnyOf, Column, Const, Given, Param, Predicate, Test, TestOp
from objectql.query.matching import matches
from objectql.query.optimize import key_of
from objectql.values import Value

S = TypeVar("S", bound=Hashable)

Params: TypeAlias = tuple[Value, ...]

Term: TypeAlias = tuple[tuple[str, ...], tuple[Any, ...]]
"""Fields, in order, and the values that they must all have."""

MISFITS = (TypeError, ValueError, AttributeError, ArithmeticError, msgspec.MsgspecError)
"""What comparisons of a value with one of another kind end in."""


class Match(NamedTuple, Generic[S]):
    """Whether the subscribers saw the record before the change, and whether they see it now."""

    was: bool
    now: bool
    subscribers: Iterable[S]
    misfit: str | None = None
    """Why nobody can tell: the record has another form than what `subscribers` were bound by."""


class _Variant(Generic[S]):
    """The subscriptions of a group that have equal parameters."""

    __slots__ = ("key", "params", "subscribers", "terms")

    def __init__(
        self, key: Hashable, params: Callable[[], Params], terms: Sequence[Term] | None
    ) -> None:
        self.key = key
        self.params = params
        self.terms = terms
        self.subscribers: dict[S, None] = {}


class _Group(Generic[S]):
    """The subscriptions of one shape."""

    def __init__(self, where: Predicate) -> None:
        self.where = where
        self.fields = tuple(fields_of(where).items())
        self.variants: dict[Hashable, _Variant[S]] = {}
        self._unindexed: dict[Hashable, _Variant[S]] = {}
        self._index: dict[tuple[str, ...], dict[tuple[Any, ...], dict[Hashable, _Variant[S]]]] = {}

    def insert(self, variant: _Variant[S]) -> None:
        self.variants[variant.key] = variant
        if variant.terms is None:
            self._unindexed[variant.key] = variant
            return
        for names, values in variant.terms:
            self._index.setdefault(names, {}).setdefault(values, {})[variant.key] = variant

    def drop(self, variant: _Variant[S]) -> None:
        del self.variants[variant.key]
        if variant.terms is None:
            del self._unindexed[variant.key]
            return
        for names, values in variant.terms:
            found = self._index[names][values]
            del found[variant.key]
            if not found:
                del self._index[names][values]
        self._index = {names: by_value for names, by_value in self._index.items() if by_value}

    def candidates(self, images: Sequence[Image]) -> Iterable[_Variant[S]]:
        """Those that may match one of `images`; every other one matches none."""
        if not self._index:
            return self._unindexed.values()
        found = dict(self._unindexed)
        for names, by_values in self._index.items():
            for image in images:
                values = tuple([image.record[name] for name in names])
                if there := by_values.get(values):
                    found.update(there)
        return found.values()


class Matcher(Generic[S]):
    """Subscriptions by what they are to hear."""

    def __init__(self) -> None:
        self._groups: dict[tuple[TenantId, ObjectName], dict[str, _Group[S]]] = {}
        self._places: dict[S, tuple[tuple[TenantId, ObjectName], str, Hashable]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, subscriber: S) -> bool:
        return subscriber in self._places

    def add(self, subscriber: S, query: LiveQuery, params: Callable[[], Params]) -> None:
        """Let `subscriber`, which is not in yet, hear of what matches `query`, as far as a record
        tells that alone.

        `params` is asked for every event where the query depends on the time, else once.
        """
        place = (query.tenant, query.object)
        where = query.alone()
        shape = f"{key_of(where)} {sorted(fields_of(where).items())}"
        group = self._groups.setdefault(place, {}).get(shape)
        if group is None:
            group = self._groups[place][shape] = _Group(where)
        key, variant = _variant(query, subscriber, params, group)
        if key not in group.variants:
            group.insert(variant)
        group.variants[key].subscribers[subscriber] = None
        self._places[subscriber] = (place, shape, key)

    def remove(self, subscriber: S) -> None:
        """Forget `subscriber`; one that is not in is no mistake."""
        found = self._places.pop(subscriber, None)
        if found is None:
            return
        place, shape, key = found
        group = self._groups[place][shape]
        variant = group.variants[key]
        del variant.subscribers[subscriber]
        if not variant.subscribers:
            group.drop(variant)
        if not group.variants:
            del self._groups[place][shape]
        if not self._groups[place]:
            del self._groups[place]

    def listens(self, tenant: TenantId, object: ObjectName) -> bool:
        """Whether anybody wants to hear of `object`."""
        return (tenant, object) in self._groups

    def subscribers(self, places: Collection[tuple[str, str]] | None = None) -> list[S]:
        """All of them, or those to `places` (tenant and object)."""
        return [s for s, (at, _, _) in self._places.items() if places is None or at in places]

    def match(self, images: EventImages) -> Iterator[Match[S]]:
        """Who saw the record before the event, or sees it after it."""
        event: ChangeEvent = images.event
        groups = self._groups.get((event.tenant, event.object))
        if groups is None:
            return
        old, new = images.old, images.new
        for group in groups.values():
            try:
                found = list(_matches_in(group, old, new))
            except MISFITS as exc:
                everybody = [s for variant in group.variants.values() for s in variant.subscribers]
                found = [Match(was=False, now=False, subscribers=everybody, misfit=repr(exc))]
            yield from found


def _matches_in(group: _Group[S], old: Image | None, new: Image | None) -> Iterator[Match[S]]:
    both = [image for image in (old, new) if image is not None]
    for image in both:
        image.need(group.fields)
    for variant in group.candidates(both):
        params = variant.params()
        was = old is not None and matches(group.where, old.record, params, _no_lookup)
        now = new is not None and matches(group.where, new.record, params, _no_lookup)
        if was or now:
            yield Match(was, now, variant.subscribers)


def _variant(
    query: LiveQuery, subscriber: S, params: Callable[[], Params], group: _Group[S]
) -> tuple[Hashable, _Variant[S]]:
    if query.is_timed:
        key: Hashable = ("timed", subscriber)
        return key, _Variant(key, params, None)
    fixed = params()
    key = repr(fixed)  # lists have no hash
    found = group.variants.get(key)
    return key, found or _Variant(key, lambda: fixed, terms(group.where, fixed))


def terms(predicate: Predicate, params: Params) -> tuple[Term, ...] | None:
    """Of which terms every record that satisfies `predicate` has at least one; None: of none."""
    match predicate:
        case Const(value):
            return None if value else ()
        case Given(param):
            return None if params[param.index] is True else ()
        case Test(Column(field), TestOp.EQ, Param(index)):
            value = params[index]
            return () if value is None else (((field.name,), (value,)),)
        case Test(Column(field), TestOp.IN, Param(index)):
            members = params[index]
            if not isinstance(members, list):
                return ()
            return tuple(((field.name,), (value,)) for value in dict.fromkeys(members))
        case AllOf(items):
            return _all_terms([terms(item, params) for item in items])
        case AnyOf(items):
            found = [terms(item, params) for item in items]
            if None in found:
                return None
            return tuple(dict.fromkeys(term for each in found if each for term in each))
        case _:
            return None


def _all_terms(found: Sequence[tuple[Term, ...] | None]) -> tuple[Term, ...] | None:
    known = [each for each in found if each is not None]
    if not known:
        return None
    if () in known:
        return ()
    single = {
        name: value
        for each in known
        if len(each) == 1
        for name, value in zip(*each[0], strict=True)
    }
    if single:
        names = tuple(sorted(single))
        return ((names, tuple(single[name] for name in names)),)
    return min(known, key=len)


def _no_lookup(*_: object) -> NoReturn:
    raise AssertionError("a live query looks at one record")
