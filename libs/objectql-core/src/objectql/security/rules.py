"""The rules of one object, whatever kind of document they were written in.

Role lists are frozen sets in which `*` stands for everybody. Conditions are filters that have been
bound once, so that none of them can fail when a caller reads; one that has no meaning holds for
nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from objectql.ids import FieldName, ObjectName
from objectql.metadata.masks import Mask
from objectql.query.ast import Filter
from objectql.rates.bucket import Rate

Right: TypeAlias = Literal["create", "read", "update", "delete", "transfer"]
"""What may be done to a record. `transfer` is to give it away: to another owner, or to be shared."""

RIGHTS: tuple[Right, ...] = ("create", "read", "update", "delete")
"""Those that are granted as operations on the object. Who may update may transfer, as far as rules let."""

VIEW_ALL = "view_all"
MODIFY_ALL = "modify_all"
"""Grants on every record, whatever the rules for records say."""

EXPORT = "export"
"""The operation of taking all records away at once that one may read: a grant beside the rights."""

TRANSFER: Final = "transfer"
"""The right, and the grant on it for every record that one may update."""

Roles: TypeAlias = frozenset[str]
NO_ROLES: Roles = frozenset()
EVERYBODY = "*"
PRINCIPALS = ("user", "team")
"""Single users and their teams stand among roles as `user:<id>` and `team:<id>`."""


def holds_any(held: Roles, allowed: Roles) -> bool:
    """Whether a caller with the roles `held` is among `allowed`."""
    return EVERYBODY in allowed or not held.isdisjoint(allowed)


class RowRule(msgspec.Struct, frozen=True):
    """Records that callers with one of `roles` have `rights` on. `name` is for people."""

    name: str
    kind: Literal["record", "sharing", "model", "scope", "ownership"]
    rights: frozenset[Right]
    filter: Filter
    roles: Roles = frozenset({EVERYBODY})


class RowLimit(msgspec.Struct, frozen=True):
    """What every record must satisfy besides, unless an exception is for the caller.

    An exception without a filter is a bypass; several that match widen each other.
    """

    default: Filter
    exceptions: tuple[tuple[str, Filter | None], ...] = ()


class RowPolicy(msgspec.Struct, frozen=True):
    """A row policy of a permission set: `using` selects records, `check` judges new images.

    It is for those among `holders` who also have one of `positions`. Those of one right and one
    caller widen each other, and narrow what rules have granted.
    """

    name: str
    rights: frozenset[Right]
    holders: Roles
    positions: Roles
    using: Filter
    check: Filter

    def is_for(self, held: Roles) -> bool:
        """Whether it is for a caller with the roles `held`."""
        return holds_any(held, self.holders) and holds_any(held, self.positions)


Required: TypeAlias = Mapping[str, Roles]
"""System permissions, all of which are needed, with the roles that have them."""


def holds_each(held: Roles, required: Required) -> bool:
    """Whether a caller with the roles `held` has every one of the system permissions."""
    return all(holds_any(held, roles) for roles in required.values())


class FieldRight(msgspec.Struct, frozen=True):
    """Who has a right on a field.

    `named` are those whom the permission file names; None leaves it to the permissions on the
    object. Permission sets allow it to some, and withhold it from others whom nothing else allows
    it.
    """

    named: Roles | None = None
    allowed: Roles = NO_ROLES
    withheld: Roles = NO_ROLES

    def is_for(self, held: Roles) -> bool:
        """Whether a caller with the roles `held` has the right."""
        if holds_any(held, self.allowed):
            return True
        if self.named is not None:
            return holds_any(held, self.named)
        return not holds_any(held, self.withheld)


class MaskRule(msgspec.Struct, frozen=True):
    """What readers see of a field, except those with one of the roles `seeing`."""

    mask: Mask
    seeing: Roles


class FieldRule(msgspec.Struct, frozen=True):
    """Who may read and write a field, beside the permissions on the object."""

    read: FieldRight = FieldRight()
    update: FieldRight = FieldRight()
    create: FieldRight = FieldRight()
    required: Required = {}
    mask: MaskRule | None = None


class ActionRule(msgspec.Struct, frozen=True):
    """Who may run an action, on which records, and how often each of them.

    `execute` None leaves it to those who may update the object. Of `rates`, those come first that
    are whole again first.
    """

    execute: Roles | None = None
    condition: Filter | None = None
    rates: tuple[Rate, ...] = ()
    required: Required = {}


class ObjectRules(msgspec.Struct, frozen=True):
    """All that permission documents say about one object.

    `grants` maps operations (also `view_all`, `modify_all`, `export` and `transfer`) to roles. `has_row_rules` tells
    that records are only for those whom a rule names; without it the grants decide alone.
    """

    object: ObjectName
    is_declared: bool = False
    """Whether any document speaks of the object; else the server's default decides."""
    grants: Mapping[str, Roles] = {}
    fields: Mapping[FieldName, FieldRule] = {}
    rows: tuple[RowRule, ...] = ()
    parent: FieldName | None = None
    """The lookup whose record decides (`sharingModel: controlled_by_parent`)."""
    has_row_rules: bool = False
    limit: RowLimit | None = None
    policies: tuple[RowPolicy, ...] = ()
    required: Mapping[Right, Required] = {}
    actions: Mapping[str, ActionRule] = {}
