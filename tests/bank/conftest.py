"""One cluster with the bank for all tests of this folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator

import httpx
import pytest

from tests.bank.bed import Bed, bank_bed, open_accounts


@pytest.fixture(scope="package")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Generator[Bed]:
    with bank_bed(tmp_path_factory.mktemp("bank")) as made:
        asyncio.run(open_accounts(made))
        yield made


@pytest.fixture
async def api(bed: Bed) -> AsyncGenerator[httpx.AsyncClient]:
    async with bed.client() as http:
        yield http
