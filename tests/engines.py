"""Kernels for the tests: the engine in this process, on a data source of each kind."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from objectql.clock import SystemClock
from objectql.drivers.protocol import Driver
from objectql.kernel.kernel import Kernel

MakeDriver: TypeAlias = Callable[[str], Driver]
"""Makes the empty data source of a name."""


class HeldClock(SystemClock):
    """Wall time stands still at the moment the vectors were recorded for; waiting is real."""

    def now_ms(self) -> int:
        return 1_785_240_000_000  # 2026-07-28T12:00:00Z


@asynccontextmanager
async def kernel_with(
    driver: Driver,
    objects: Mapping[str, Any],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
) -> AsyncGenerator[Kernel]:
    """A running kernel with `objects` on `driver`, which then holds `rows` by object."""
    kernel = Kernel([driver, {"name": "vectors", "objects": objects}], clock=HeldClock())
    await kernel.start()
    try:
        for name, records in rows.items():
            for record in records:
                await kernel.create(name, record)
        yield kernel
    finally:
        await kernel.stop()
