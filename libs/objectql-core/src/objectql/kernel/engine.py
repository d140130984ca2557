"""What the parts of the kernel share: metadata in force, drivers, registries, limits.

A request takes `engine.model` once and keeps it to its end, so a publication in between changes
nothing under its feet.
"""

from __future__ import annotations

from collections.abc import Mapping

from objectql.clock import Clock
from objectql.context import Actor
from objectql.drivers.placed import PlacedDriver
from objectql.drivers.protocol import Driver
from objectql.errors import Issue, MetadataInvalid, Unavailable
from objectql.events import EventBus
from objectql.ids import DataSource
from objectql.kernel.autonumber import autonumber_fields
from objectql.kernel.features import KernelSettings
from objectql.kernel.result_cache.cache import ResultCache
from objectql.kernel.rules import RuleSet, compile_rules
from objectql.kernel.validate import RecordValidator, compile_validator
from objectql.metadata.model import ObjectDef
from objectql.metadata.registry import MetadataRegistry, MetadataSnapshot
from objectql.plugins.actions import ActionRegistry
from objectql.plugins.hooks import HookRegistry
from objectql.plugins.middleware import MiddlewareRegistry
from objectql.plugins.services import ServiceRegistry
from objectql.rates.limiter import Limiter
from objectql.rates.tally import Tally
from objectql.security.permissions import PermissionCompiler
from objectql.security.policy import AccessRules
from objectql.security.scoped import ScopedPolicies

DEFAULT_SOURCE = DataSource("default")


class Model:
    """One metadata snapshot with everything that is compiled from it, made on first use."""

    def __init__(self, snapshot: MetadataSnapshot, settings: KernelSettings) -> None:
        self.snapshot = snapshot
        self.version = snapshot.version
        self.permissions = PermissionCompiler(snapshot, default=settings.default_access)
        self._scoped = ScopedPolicies()
        self._validators: dict[str, RecordValidator] = {}
        self._rules: dict[str, RuleSet] = {}
        self.numbered = frozenset(
            name for name, object_ in snapshot.objects.items() if autonumber_fields(object_)
        )
        """The objects with autonumber fields."""
        self.trees = frozenset(n for n, object_ in snapshot.objects.items() if object_.tree_fields)
        """The objects whose records form trees."""

    def object(self, name: str) -> ObjectDef:
        """The object.

        Raises:
            ObjectUnknown: there is none.

        """
        return self.snapshot.object(name)

    def policy(self, actor: Actor) -> AccessRules:
        """What `actor` may do."""
        return self._scoped.narrowed(self.permissions.policy(actor), actor.scopes)

    def validator(self, object_: ObjectDef) -> RecordValidator:
        """The compiled field checks of an object of this snapshot."""
        found = self._validators.get(object_.name)
        if found is None:
            found = self._validators[object_.name] = compile_validator(object_)
        return found

    def rules(self, object_: ObjectDef) -> RuleSet:
        """The compiled object rules of an object of this snapshot."""
        found = self._rules.get(object_.name)
        if found is None:
            found = self._rules[object_.name] = compile_rules(object_)
        return found


class Engine:
    """The shared state of one kernel."""

    def __init__(
        self,
        drivers: Mapping[DataSource, Driver],
        settings: KernelSettings,
        clock: Clock,
        cache: ResultCache | None = None,
        limiter: Limiter | None = None,
    ) -> None:
        self.placed = {
            name: PlacedDriver(driver, driver.places)
            for name, driver in drivers.items()
            if driver.places is not None
        }
        """Those of the data sources in which tenants can have places of their own."""
        self.drivers: Mapping[DataSource, Driver] = {**drivers, **self.placed}
        self.cache = cache
        self.settings = settings
        self.clock = clock
        self.limiter = limiter or Limiter(clock)
        """Counts how often callers and tenants ask; without another one for this kernel alone."""
        self.tally = Tally(clock, self.limiter)
        """Counts the operations of each tenant."""
        self.events = EventBus()
        self.hooks = HookRegistry()
        self.middleware = MiddlewareRegistry()
        self.actions = ActionRegistry()
        self.services = ServiceRegistry()
        self.registry = MetadataRegistry()
        self.model = Model(self.registry.snapshot, settings)
        self.registry.on_publish(self._on_publish)

    def _on_publish(self, _old: MetadataSnapshot, new: MetadataSnapshot) -> None:
        self.model = Model(new, self.settings)

    def driver(self, object_: ObjectDef) -> Driver:
        """The data source of an object.

        Raises:
            Unavailable: this kernel has no such data source.

        """
        try:
            return self.drivers[object_.datasource]
        except KeyError:
            raise Unavailable(what=f'the data source "{object_.datasource}"') from None

    @property
    def system_driver(self) -> Driver:
        """The data source that keeps the metadata: `default`, or the only one."""
        driver = self.drivers.get(DEFAULT_SOURCE)
        if driver is None:
            if len(self.drivers) != 1:
                message = f'no data source is called "{DEFAULT_SOURCE}"'
                issue = Issue(path="drivers", code="no_default_source", message=message)
                raise MetadataInvalid(issues=(issue,))
            driver = next(iter(self.drivers.values()))
        return driver
