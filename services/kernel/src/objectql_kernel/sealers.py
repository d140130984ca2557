"""The sealers of this worker, one for the shared tables of each data source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from objectql.bus.port import Bus
from objectql.drivers.chains import Head
from objectql.errors import Unavailable
from objectql.ids import DataSource
from objectql.kernel.audit.retention import retention_of
from objectql.kernel.audit.sealer import Sealer, SealerLimits
from objectql.kernel.kernel import Kernel
from objectql.service.run import Process
from objectql.wire.audit import HeadsSealed, SealedHead
from objectql.wire.codec import encode
from objectql.wire.subjects import AUDIT, kernel_event
from objectql_kernel.settings import KernelSettings


def open_sealers(kernel: Kernel, process: Process[KernelSettings]) -> Mapping[DataSource, Sealer]:
    """They announce heads on the bus, and purge what objects and settings keep no longer."""
    settings = process.settings.audit
    retention = retention_of(kernel.engine, settings.security_retention_days)
    return {
        name: Sealer(
            name,
            driver.chains,
            driver.leases,
            holder=process.instance,
            clock=process.clock,
            announce=_Announcer(name, process.bus),
            retention=retention,
            limits=SealerLimits(purge_every_s=settings.purge_every_s),
        )
        for name, driver in kernel.engine.shared.items()
    }


class _Announcer:
    """Tells the heads of one data source."""

    def __init__(self, source: DataSource, bus: Bus) -> None:
        self._source = source
        self._bus = bus

    async def __call__(self, heads: Sequence[Head]) -> None:
        told = tuple(
            SealedHead(self._source, head.chain.tenant, head.chain.name, head.sequence, head.hash)
            for head in heads
        )
        with suppress(Unavailable):  # the next seal of the chain tells more
            await self._bus.publish(kernel_event(AUDIT), encode(HeadsSealed(told)))
