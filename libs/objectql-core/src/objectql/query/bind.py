"""Names, types, tenant and rules settled: `Query` to `BoundQuery`.

After this nothing fails for the caller's reasons except a literal that does not fit its field
(`values_in`), and nothing can forget the tenant, a row rule or that a record is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from objectql.errors import InvalidQuery, ObjectQLError, PermissionDenied
from objectql.metadata.model import FieldDef, ObjectDef
from objectql.metadata.types import Storage
from objectql.query.ast import Expand, Filter, Path, Query, Search, Slot
from objectql.query.bind_groups import bind_grouping
from objectql.query.bound import (
    FALSE,
    TRUE,
    AnyOf,
    BoundExpand,
    BoundQuery,
    Column,
    Hop,
    Order,
    Output,
    Param,
    ParamSource,
    Predicate,
    Test,
    TestOp,
)
from objectql.query.computed import computed_column
from objectql.query.conditions import Conditions
from objectql.query.cursor import page_digest
from objectql.query.parse import MAX_EXPAND_DEPTH
from objectql.query.policy import AccessPolicy
from objectql.query.scope import (
    Params,
    Problems,
    Schema,
    Visibility,
    all_of,
    check_hops,
    follow,
    is_alive,
    trusted_column,
)
from objectql.query.search_words import terms_of
from objectql.values import Value

__all__ = ["Schema", "bind"]

_UNSORTABLE = frozenset({Storage.JSON, Storage.LIST})


def bind(
    template: Query,
    snapshot: Schema,
    policy: AccessPolicy,
    *,
    places: Sequence[str] = (),
    literals: Sequence[Any] = (),
) -> BoundQuery:
    """The query with every name settled, for callers of the policy's shape.

    `template` comes from `template.extract`; literals that are still in it become constants of
    the plan. `places` (also from there) tells errors where a literal stood; `literals` are not
    needed and take no part in the result.

    Raises:
        FieldUnknown, InvalidQuery, InvalidFilter: with every mistake of the query in `issues`.
        ObjectUnknown, PermissionDenied, NotSupported

    """
    del literals  # a plan must not depend on them
    binder = _Binder(snapshot, policy, places)
    object_ = snapshot.object(template.object)
    policy.check_read(object_)
    bound = binder.bind_query(object_, template, depth=0)
    binder.problems.finish()
    return msgspec.structs.replace(bound, params=binder.params.sources())


class _Binder:
    """What the levels of one query share."""

    def __init__(self, schema: Schema, policy: AccessPolicy, places: Sequence[str]) -> None:
        self.schema = schema
        self.policy = policy
        self.params = Params()
        self.problems = Problems(places)
        self.conditions = Conditions(self.params, self.problems)
        self.visibility = Visibility(schema, policy)
        self._visible: dict[str, Predicate] = {}

    def bind_query(
        self,
        object_: ObjectDef,
        query: Query,
        *,
        depth: int,
        extra: Predicate = TRUE,
        at: str = "",
    ) -> BoundQuery:
        """`query` of `object_`; `at` is where it stands, with a dot at its end."""
        where = [extra, *self._bind_conditions(object_, query, at)]
        if query.is_aggregate:
            return self._bind_groups(object_, query, all_of(*where))
        if query.having is not None:
            self.problems.note(InvalidQuery(reason="having needs groups", path="having"), "having")
        distinct = query.distinct and query.fields is not None and ("id",) not in query.fields
        outputs = self._bind_outputs(object_, query, f"{at}fields", distinct=distinct)
        order = self._bind_order(object_, query, outputs, f"{at}orderBy", distinct=distinct)
        if distinct and not query.fields:
            self.problems.note(
                InvalidQuery(reason="distinct needs fields to tell records apart"), f"{at}distinct"
            )
        if distinct and (query.expand or query.after is not None):
            self.problems.note(
                InvalidQuery(reason="distinct goes with neither relations nor a cursor"),
                "distinct",
            )
        expand = tuple(
            found
            for item in query.expand
            if (found := self._bind_expand(object_, item, depth, at)) is not None
        )
        expanded = {item.name for item in expand}
        return BoundQuery(
            object=object_,
            tenant=self.params.tenant,
            outputs=tuple(output for output in outputs if output.name not in expanded),
            where=all_of(*where),
            order=order,
            limit=query.limit,
            offset=self._bind_offset(query),
            after=self._bind_after(query, order),
            expand=expand,
            distinct=distinct,
            count=query.count,
        )

    # --- conditions -----------------------------------------------------------------------

    def _bind_conditions(self, object_: ObjectDef, query: Query, at: str) -> list[Predicate]:
        found: list[Predicate] = []
        if query.where is not None:
            found.append(
                self.conditions.bind(
                    query.where, lambda path: self.column(object_, path), f"{at}where"
                )
            )
        if query.search is not None:
            try:
                found.append(self._bind_search(object_, query.search))
            except ObjectQLError as error:
                self.problems.note(error, "search")
        if not query.include_deleted:
            found.append(is_alive(object_))
        found.append(self._row_rule(object_))
        return found

    def _row_rule(self, object_: ObjectDef) -> Predicate:
        rule = self.policy.row_rule(object_, _RuleScope(self, object_))
        return TRUE if rule is None else rule

    def column(self, object_: ObjectDef, path: Path) -> Column:
        """The column that `path` means to this caller, every hop checked."""
        if len(path) == 1:
            return self._column_of(object_, self.visibility.field(object_, path[0]), ())
        hops, object_ = self._hops(object_, path)
        return self._column_of(object_, self.visibility.field(object_, path[-1]), hops)

    def _column_of(self, object_: ObjectDef, field: FieldDef, hops: tuple[Hop, ...]) -> Column:
        """The column of a field of `object_`, which `hops` lead to."""
        if field.formula is None:
            return Column(field, hops)
        return computed_column(
            object_, field, hops, self.schema, self.params, lambda path: self.column(object_, path)
        )

    def _output(self, object_: ObjectDef, path: Path) -> Output:
        """As `column`, of something that is only shown."""
        hops, object_ = self._hops(object_, path)
        field = self.visibility.field(object_, path[-1], is_shown=True)
        mask = self.visibility.mask(object_, field)
        return Output(".".join(path), self._column_of(object_, field, hops), mask)

    def _hops(self, object_: ObjectDef, path: Path) -> tuple[tuple[Hop, ...], ObjectDef]:
        """The lookups that `path` follows, and the object that it ends at."""
        check_hops(path)
        hops: list[Hop] = []
        for name in path[:-1]:
            field = self.visibility.field(object_, name)
            object_ = follow(self.schema, field)
            self.policy.check_read(object_)
            hops.append(Hop(field, object_, self._visible_records(object_)))
        return tuple(hops), object_

    def _visible_records(self, object_: ObjectDef) -> Predicate:
        # One predicate per object, so that paths over the same lookup compare equal at once.
        if object_.name not in self._visible:
            self._visible[object_.name] = all_of(is_alive(object_), self._row_rule(object_))
        return self._visible[object_.name]

    def _bind_search(self, object_: ObjectDef, search: Search) -> Predicate:
        if not object_.enable.searchable:
            raise InvalidQuery(reason=f"{object_.name} cannot be searched")
        fields = self._searched_fields(object_, search.fields)
        if not fields:
            raise InvalidQuery(reason=f"{object_.name} has no field to search")
        by_words = search.mode == "words"
        terms: Any = search.text
        if isinstance(terms, str):
            terms = terms_of(terms) if by_words else terms.split()
        return all_of(*(self._bind_term(fields, term, by_words=by_words) for term in terms))

    def _searched_fields(self, object_: ObjectDef, names: tuple[str, ...]) -> list[FieldDef]:
        if names:
            fields = [self.visibility.field(object_, name) for name in names]
            for field in fields:
                if field.storage is not Storage.TEXT or not field.is_stored:
                    raise InvalidQuery(reason=f'"{field.name}" is not stored text')
            return fields
        return self.visibility.searched(object_)

    def _bind_term(
        self, fields: Sequence[FieldDef], term: Slot | str, *, by_words: bool
    ) -> Predicate:
        def param(**how: Any) -> Param:
            if isinstance(term, Slot):
                return self.params.add(ParamSource(Storage.TEXT, slot=term.index, **how))
            return self.params.add(ParamSource(Storage.TEXT, constant=term, **how))

        text = param(verbatim=True)
        test = TestOp.HAS_WORD if by_words else TestOp.ICONTAINS
        shape = "labels_by_word" if by_words else "labels"
        tests: list[Predicate] = []
        for field in fields:
            tests.append(Test(Column(field), test, text))
            if field.options:
                options = tuple((option.label, str(option.value)) for option in field.options)
                labelled = param(shape=shape, options=options)
                tests.append(Test(Column(field), TestOp.IN, labelled))
        return AnyOf(tuple(tests))

    # --- what is returned -----------------------------------------------------------------

    def _bind_outputs(
        self, object_: ObjectDef, query: Query, at: str, *, distinct: bool
    ) -> tuple[Output, ...]:
        if query.fields is None:
            shown = self.visibility.shown(object_).values()
            return tuple(
                Output(f.name, self._column_of(object_, f, ()), self.visibility.mask(object_, f))
                for f in shown
                if f.is_readable
            )
        outputs: dict[str, Output] = {}
        if not distinct:
            outputs["id"] = Output("id", self.column(object_, ("id",)))
        for index, path in enumerate(query.fields):
            try:
                # Records are told apart by what is kept, not by what is shown of it.
                output = (
                    Output(".".join(path), self.column(object_, path))
                    if distinct
                    else self._output(object_, path)
                )
                if distinct and output.column.field.storage in _UNSORTABLE:
                    raise InvalidQuery(reason=f'"{output.name}" cannot be made distinct')
            except ObjectQLError as error:
                self.problems.note(error, f"{at}.{index}")
            else:
                outputs.setdefault(output.name, output)
        return tuple(outputs.values())

    def _bind_order(
        self,
        object_: ObjectDef,
        query: Query,
        outputs: Sequence[Output],
        at: str,
        *,
        distinct: bool,
    ) -> tuple[Order, ...]:
        order: dict[str, Order] = {}
        for index, sort in enumerate(query.order_by):
            try:
                column = self.column(object_, sort.path)
                if column.field.storage in _UNSORTABLE:
                    raise InvalidQuery(reason=f'"{column.name}" has no order')
                if distinct and all(output.name != column.name for output in outputs):
                    raise InvalidQuery(reason=f'"{column.name}" is not among the distinct fields')
                order.setdefault(column.name, Order(column, sort.descending))
            except ObjectQLError as error:
                self.problems.note(error, f"{at}.{index}")
        if distinct:
            for output in outputs:
                order.setdefault(output.name, Order(output.column))
        elif "id" not in order:
            order["id"] = Order(Column(self.visibility.field(object_, "id")))
        else:  # what comes after the id orders nothing
            names = list(order)
            order = {name: order[name] for name in names[: names.index("id") + 1]}
        return tuple(order.values())

    def _bind_offset(self, query: Query) -> Param | None:
        if isinstance(query.offset, Slot):
            return self.params.add(ParamSource(Storage.INTEGER, slot=query.offset.index))
        if query.offset:
            return self.params.add(ParamSource(Storage.INTEGER, constant=query.offset))
        return None

    def _bind_after(self, query: Query, order: Sequence[Order]) -> tuple[Param, ...]:
        if query.after is None:
            return ()
        after = query.after
        slot = after.index if isinstance(after, Slot) else None
        constant = None if isinstance(after, Slot) else after
        digest = page_digest(query)
        params: list[Param] = []
        for part, key in enumerate(order):
            assert isinstance(key.by, Column)
            params.append(
                self.params.add(
                    ParamSource(
                        key.by.field.storage,
                        slot=slot,
                        constant=constant,
                        part=part,
                        shape="cursor",
                        digest=digest,
                        at="after",
                    )
                )
            )
        return tuple(params)

    def _bind_groups(self, object_: ObjectDef, query: Query, where: Predicate) -> BoundQuery:
        for part in ("expand", "after", "distinct"):
            if getattr(query, part):
                self.problems.note(
                    InvalidQuery(reason=f"{part} does not go with groups", path=part), part
                )
        grouping, order = bind_grouping(
            query, lambda path: self.column(object_, path), self.conditions
        )
        return BoundQuery(
            object=object_,
            tenant=self.params.tenant,
            outputs=(),
            where=where,
            order=order,
            limit=query.limit,
            offset=self._bind_offset(query),
            grouping=grouping,
            count=query.count,
        )

    # --- relations ------------------------------------------------------------------------

    def _bind_expand(
        self, object_: ObjectDef, item: Expand, depth: int, at: str
    ) -> BoundExpand | None:
        at = f"{at}expand.{item.name}"
        try:
            if depth >= MAX_EXPAND_DEPTH:
                raise InvalidQuery(reason=f"relations nest deeper than {MAX_EXPAND_DEPTH}")
            lookup = self.visibility.fields(object_).get(item.name)
            if lookup is not None:
                return self._bind_forward(lookup, item, depth, at)
            return self._bind_inverse(object_, item, depth, at)
        except ObjectQLError as error:
            self.problems.note(error, at)
            return None

    def _bind_forward(self, lookup: FieldDef, item: Expand, depth: int, at: str) -> BoundExpand:
        if lookup.reference is None:
            raise InvalidQuery(reason=f'"{lookup.name}" is not a relation')
        query = item.query
        if query.order_by or query.limit is not None or query.offset:
            raise InvalidQuery(
                reason=f'"{lookup.name}" points to records in their own order; limit, offset and'
                " order go with related lists"
            )
        if query.count != "none":
            raise InvalidQuery(
                reason=f'"{lookup.name}" has no count: all that it points to is in the answer'
            )
        target = self.schema.object(lookup.reference)
        kind = "many" if lookup.storage is Storage.LIST else "one"
        return BoundExpand(item.name, kind, lookup, self._bind_related(target, query, depth, at))

    def _bind_inverse(self, object_: ObjectDef, item: Expand, depth: int, at: str) -> BoundExpand:
        relations = related_lists(
            [
                (child, lookup)
                for child, lookup in self.schema.inverse_lookups(object_.name)
                if lookup.name in self.visibility.fields(child)
            ]
        )
        found = relations.get(item.name)
        if found is None:
            lookups = [f.name for f in self.visibility.fields(object_).values() if f.reference]
            self.visibility.raise_unknown(object_, item.name, [*lookups, *relations])
        child, lookup = found
        return BoundExpand(
            item.name, "inverse", lookup, self._bind_related(child, item.query, depth, at)
        )

    def _bind_related(self, target: ObjectDef, query: Query, depth: int, at: str) -> BoundQuery:
        # Who may not read the target sees no record of it, rather than an error: the id of the
        # relation is theirs to read, and views that expand it must go on working.
        try:
            self.policy.check_read(target)
        except PermissionDenied:
            hidden = Query(object=target.name, fields=(), count=query.count)
            return self.bind_query(target, hidden, depth=depth + 1, extra=FALSE)
        return self.bind_query(target, query, depth=depth + 1, at=f"{at}.")


def related_lists(
    lookups: Sequence[tuple[ObjectDef, FieldDef]],
) -> dict[str, tuple[ObjectDef, FieldDef]]:
    """The to-many relations that `lookups` make, by name.

    A list is called like the child object where one lookup of it points here, and always also
    `<child>_<field>`. Multiple lookups make none.
    """
    single = [(child, field) for child, field in lookups if field.storage is Storage.TEXT]
    children = [child.name for child, _ in single]
    named = {f"{child.name}_{field.name}": (child, field) for child, field in single}
    return named | {
        child.name: (child, field) for child, field in single if children.count(child.name) == 1
    }


class _RuleScope:
    """The `RuleBinder` of one object: every stored field is in sight."""

    def __init__(self, binder: _Binder, object_: ObjectDef) -> None:
        self._binder = binder
        self._object = object_

    def filter(self, rule: Filter) -> Predicate:
        return self._binder.conditions.bind(rule, self.column, "rule")

    def column(self, path: Path) -> Column:
        return trusted_column(self._binder.schema, self._object, path)

    def context(self, name: str, storage: Storage) -> Param:
        return self._binder.params.context(name, storage)

    def constant(self, value: Value, storage: Storage) -> Param:
        return self._binder.params.add(ParamSource(storage, constant=value, at="rule"))
