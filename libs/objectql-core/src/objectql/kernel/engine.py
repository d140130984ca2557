"""What the parts of the kernel share: metadata in force, drivers, registries, limits.

A request takes its model once, from `Engine.model_of`, and keeps it to its end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from objectql.clock import Clock
from objectql.drivers.placed import PlacedDriver
from objectql.drivers.protocol import Driver
from objectql.errors import Issue, MetadataInvalid, Unavailable
from objectql.events import EventBus
from objectql.ids import DataSource, TenantId
from objectql.kernel.features import KernelSettings
from objectql.kernel.model import Model, TenantModels
from objectql.kernel.result_cache.cache import ResultCache
from objectql.kernel.transactions.coordinator import Coordinator, NoCoordinator
from objectql.metadata.model import ObjectDef
from objectql.metadata.registry import MetadataRegistry, MetadataSnapshot
from objectql.plugins.actions import ActionRegistry
from objectql.plugins.hooks import HookRegistry
from objectql.plugins.middleware import MiddlewareRegistry
from objectql.plugins.services import ServiceRegistry
from objectql.rates.limiter import Limiter
from objectql.rates.tally import Tally

DEFAULT_SOURCE = DataSource("default")


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
        self.shared = drivers
        """The drivers of the tables that tenants share."""
        self.drivers: Mapping[DataSource, Driver] = {**drivers, **self.placed}
        self.cache = cache
        self.settings = settings
        self.clock = clock
        self.limiter = limiter or Limiter(clock)
        """Counts how often callers and tenants ask; without another one for this kernel alone."""
        self.coordinator: Coordinator = NoCoordinator()
        """Decides transactions over several data sources; a service sets the cluster's."""
        self.transactions: Counter[str] = Counter()
        """Transactions over several data sources, by how they were answered."""
        self.tally = Tally(clock, self.limiter)
        """Counts the operations of each tenant."""
        self.events = EventBus()
        self.hooks = HookRegistry()
        self.middleware = MiddlewareRegistry()
        self.actions = ActionRegistry()
        self.services = ServiceRegistry()
        self.registry = MetadataRegistry()
        self.model = Model(self.registry.snapshot, settings)
        self.tenant_models = TenantModels(settings)
        self.registry.on_publish(self._on_publish)

    def _on_publish(self, _old: MetadataSnapshot, new: MetadataSnapshot) -> None:
        self.model = Model(new, self.settings)
        self.tenant_models.forget()

    def model_of(self, tenant: TenantId) -> Model:
        """The metadata that `tenant` sees: the published, with what the tenant has of its own."""
        if tenant not in self.tenant_models.metadata:
            return self.model
        return self.tenant_models.of(tenant, self.model)

    async def forget_kept_answers(self) -> None:
        """Return when no later read is answered by what the result cache has kept until now."""
        if self.cache is not None:
            await self.cache.deleted()

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
