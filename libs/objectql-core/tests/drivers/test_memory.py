from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from objectql.drivers.memory import MemoryDriver
from objectql.testing.drivers import OBJECTS, DriverSuite, NoPreparePromises


@pytest.fixture
async def driver() -> AsyncIterator[MemoryDriver]:
    driver = MemoryDriver()
    await driver.connect()
    await driver.apply_schema(await driver.plan_schema(OBJECTS))
    yield driver
    await driver.close()


class TestMemory(DriverSuite, NoPreparePromises):
    pass
