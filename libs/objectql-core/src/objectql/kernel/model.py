"""Metadata in force with everything that is compiled from it, for everybody and for single tenants.

A request takes its model once and keeps it to its end, so a publication in between changes nothing
under its feet. Tenants without metadata of their own share one; the models of the others hold what
is theirs, and share the rest with it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from objectql.context import Actor
from objectql.ids import ObjectName, TenantId
from objectql.kernel.autonumber import autonumber_fields
from objectql.kernel.computed import ComputedFields
from objectql.kernel.features import KernelSettings
from objectql.kernel.rules import RuleSet, compile_rules
from objectql.kernel.validate import RecordValidator, compile_validator
from objectql.metadata.model import ObjectDef
from objectql.metadata.overlay import TenantMetadata, fitting_overlay
from objectql.metadata.registry import MetadataSnapshot
from objectql.metadata.tenant_snapshot import TenantSnapshot
from objectql.security.permissions import PermissionCompiler
from objectql.security.policy import AccessRules
from objectql.security.scoped import ScopedPolicies

log = logging.getLogger(__name__)

MAX_TENANT_MODELS: Final = 256
"""Kept at once; of a tenant beyond, the model is built anew for its next request."""


class Model:
    """One snapshot with everything that is compiled from it, made on first use."""

    def __init__(
        self, snapshot: MetadataSnapshot, settings: KernelSettings, base: Model | None = None
    ) -> None:
        """`base` is the model of the published metadata where `snapshot` is a tenant's."""
        self.snapshot = snapshot
        self.version = snapshot.version
        self.edition = snapshot.edition
        self.permissions = PermissionCompiler(
            snapshot, default=settings.default_access, base=base and base.permissions
        )
        self._base = base
        self._scoped = ScopedPolicies()
        self._validators: dict[str, RecordValidator] = {}
        self._rules: dict[str, RuleSet] = {}
        own = snapshot.own if isinstance(snapshot, TenantSnapshot) else snapshot.objects
        self._own = own
        self.numbered: frozenset[ObjectName] = frozenset(
            name for name, object_ in own.items() if autonumber_fields(object_)
        )
        """The objects with autonumber fields."""
        self.trees: frozenset[ObjectName] = frozenset(
            name for name, object_ in own.items() if object_.tree_fields
        )
        """The objects whose records form trees."""
        self._computed: dict[ObjectName, ComputedFields] = {
            name: ComputedFields(object_, snapshot.object)
            for name, object_ in own.items()
            if any(field.formula is not None for field in object_.fields.values())
        }
        if base is not None:
            self.numbered |= base.numbered
            self.trees |= base.trees

    def object(self, name: str) -> ObjectDef:
        """The object.

        Raises:
            ObjectUnknown: there is none.

        """
        return self.snapshot.object(name)

    def policy(self, actor: Actor) -> AccessRules:
        """What `actor` may do."""
        return self._scoped.narrowed(self.permissions.policy(actor), actor.scopes)

    def computed(self, name: ObjectName) -> ComputedFields | None:
        """What computes the formula fields of an object; None where it has none."""
        found = self._computed.get(name)
        if found is None and self._base is not None and name not in self._own:
            return self._base.computed(name)
        return found

    def validator(self, object_: ObjectDef) -> RecordValidator:
        """The compiled field checks of an object of this snapshot."""
        if self._base is not None and object_.name not in self._own:
            return self._base.validator(object_)
        found = self._validators.get(object_.name)
        if found is None:
            found = self._validators[object_.name] = compile_validator(object_)
        return found

    def rules(self, object_: ObjectDef) -> RuleSet:
        """The compiled object rules of an object of this snapshot."""
        if self._base is not None and object_.name not in self._own:
            return self._base.rules(object_)
        found = self._rules.get(object_.name)
        if found is None:
            found = self._rules[object_.name] = compile_rules(object_, self.snapshot.object)
        return found


class TenantModels:
    """The models of tenants that have metadata of their own."""

    def __init__(self, settings: KernelSettings, capacity: int = MAX_TENANT_MODELS) -> None:
        self._settings = settings
        self._capacity = capacity
        self.metadata: Mapping[TenantId, TenantMetadata] = {}
        """What they have, all of them; models are built from it."""
        self._models: OrderedDict[TenantId, Model] = OrderedDict()

    def replace(self, metadata: Mapping[TenantId, TenantMetadata]) -> None:
        """Know this and nothing else; models of what stayed as it was stay."""
        for tenant in tuple(self._models):
            if metadata.get(tenant) is not self.metadata.get(tenant):
                del self._models[tenant]
        self.metadata = metadata

    def forget(self) -> None:
        """Build all models anew: other metadata was published."""
        self._models.clear()

    def of(self, tenant: TenantId, base: Model) -> Model:
        """The model of `tenant` over `base`, which is in force; `base` itself if it has none."""
        model = self._models.get(tenant)
        if model is not None:
            self._models.move_to_end(tenant)
            return model
        metadata = self.metadata.get(tenant)
        if metadata is None:
            return base
        snapshot = fitting_overlay(base.snapshot, tenant, metadata)
        if snapshot.asleep:
            issues = [str(issue) for issue in snapshot.asleep]
            log.warning("tenant_metadata_asleep", extra={"tenant": tenant, "issues": issues})
        model = self._models[tenant] = Model(snapshot, self._settings, base)
        if len(self._models) > self._capacity:
            self._models.popitem(last=False)
        return model
