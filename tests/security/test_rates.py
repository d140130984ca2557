"""Limits hold over all gateways, and go on to hold when Redis dies; quotas are told and kept."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack
from itertools import count

import httpx
import jwt
import pytest

from objectql_devstack.cluster import Cluster
from tests.clusters import CRM, eventually

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

MOST = 30
GATEWAYS = 2

_numbers = count()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    with Cluster(
        tmp_path_factory.mktemp("rates"),
        ports="free",
        kernels=1,
        counts={"gateway-rest": GATEWAYS, "coordinator": 0},
        metadata=[CRM],
        need=frozenset({"nats", "postgres", "redis"}),
        ephemeral=True,
        extra_env={
            "gateway-rest": {
                "OQL_GATEWAY_REST_RATES__PRINCIPAL": f"{MOST}/h",
                "OQL_GATEWAY_REST_RATES__ROLES": "free=off",
                "OQL_GATEWAY_REST_RATES__PROCESSES": f"{GATEWAYS}",
                "OQL_GATEWAY_REST_RATES__ADDRESS": "6/h",
                "OQL_GATEWAY_REST_RATES__TIMEOUT_MS": "2000",
            }
        },
    ) as running:
        yield running


@pytest.fixture
async def gateways(cluster: Cluster) -> AsyncGenerator[list[httpx.AsyncClient]]:
    async with AsyncExitStack() as opened:
        yield [
            await opened.enter_async_context(
                httpx.AsyncClient(
                    base_url=f"http://{cluster.address(f'gateway-rest-{number}')}", timeout=30
                )
            )
            for number in range(1, GATEWAYS + 1)
        ]


def somebody(cluster: Cluster, *roles: str, tenant: str = "default") -> dict[str, str]:
    """The headers of a caller who has never called."""
    claims = {
        "sub": f"user{next(_numbers)}",
        "tenant": tenant,
        "roles": ["admin", *roles],
        "exp": 4_000_000_000,
    }
    token = jwt.encode(claims, cluster.env["OQL_JWT_SECRET"], algorithm="HS256")
    return {"Authorization": f"Bearer {token}"}


async def ask(gateway: httpx.AsyncClient, who: dict[str, str], times: int) -> Counter[int]:
    return Counter(
        [(await gateway.get("/api/account", headers=who)).status_code for _ in range(times)]
    )


async def test_a_caller_has_one_limit_at_all_gateways(
    cluster: Cluster, gateways: list[httpx.AsyncClient]
) -> None:
    async def is_shared() -> bool:
        return (await ask(gateways[1], somebody(cluster), MOST))[200] == MOST

    await eventually(is_shared, within_s=20, what="the limits being shared")
    who = somebody(cluster)
    counts = await asyncio.gather(*(ask(gateway, who, MOST) for gateway in gateways))
    assert sum(counts, Counter[int]()) == {200: MOST, 429: MOST}


async def test_sign_ins_from_one_address_are_few_at_all_gateways(
    gateways: list[httpx.AsyncClient],
) -> None:
    statuses: list[int] = []
    for number in range(8):
        answer = await gateways[number % 2].post(
            "/api/auth/sign-in", json={"name": f"name{number}", "password": "a guess"}
        )
        statuses.append(answer.status_code)
    assert statuses == [401] * 6 + [429] * 2


async def test_a_tenant_that_is_full_is_told_so_and_what_it_uses(
    cluster: Cluster, gateways: list[httpx.AsyncClient]
) -> None:
    operator = somebody(cluster, "free", "system")
    member = somebody(cluster, "free", tenant="full")
    made = await gateways[0].post(
        "/api/admin/tenants", json={"id": "full", "quotas": {"records": 3}}, headers=operator
    )
    assert made.status_code == 201, made.text
    answers = [
        await gateways[number % 2].post(
            "/api/account", json={"name": f"name {number}"}, headers=member
        )
        for number in range(5)
    ]
    assert [answer.status_code for answer in answers] == [201] * 3 + [429] * 2
    assert answers[-1].json()["code"] == "QUOTA_EXCEEDED"
    told = await gateways[1].get("/api/admin/tenants/full/usage", headers=operator)
    assert told.status_code == 200, told.text
    used = told.json()
    assert used["objects"]["account"]["records"] == used["records"] == 3
    assert used["requests"]["today"] + used["requests"]["yesterday"] == 5  # it may be midnight
    refused = await gateways[1].get("/api/admin/tenants/full/usage", headers=member)
    assert refused.status_code == 403


async def test_when_redis_dies_each_gateway_gives_its_part(
    cluster: Cluster, gateways: list[httpx.AsyncClient]
) -> None:
    """Whoever asks meanwhile gets an answer, and nobody who is not limited is refused."""
    free = somebody(cluster, "free")
    is_over = asyncio.Event()

    async def go_on(gateway: httpx.AsyncClient) -> Counter[int]:
        seen = Counter[int]()
        while not is_over.is_set():
            seen += await ask(gateway, free, 1)
        return seen

    async def given(gateway: httpx.AsyncClient, wanted: int) -> bool:
        return (await ask(gateway, somebody(cluster), MOST))[200] == wanted

    others = [asyncio.create_task(go_on(gateway)) for gateway in gateways]
    try:
        cluster.kill("redis")
        for gateway in gateways:
            await eventually(
                lambda gateway=gateway: given(gateway, MOST // GATEWAYS),
                within_s=20,
                what="giving the part of one gateway",
            )
        who = somebody(cluster)
        counts = await asyncio.gather(*(ask(gateway, who, MOST) for gateway in gateways))
        assert sum(counts, Counter[int]()) == {200: MOST, 429: MOST}
        cluster.restart("redis")
        for gateway in gateways:
            await eventually(
                lambda gateway=gateway: given(gateway, MOST),
                within_s=20,
                what="sharing the limits again",
            )
    finally:
        is_over.set()
        seen = sum(await asyncio.gather(*others), Counter[int]())
    assert set(seen) == {200}


async def test_a_frozen_redis_holds_nobody_up(
    cluster: Cluster, gateways: list[httpx.AsyncClient]
) -> None:
    cluster.freeze("redis")
    try:
        seen = await ask(gateways[0], somebody(cluster), MOST)
        assert set(seen) <= {200, 429}
        assert seen[200] >= MOST // GATEWAYS
    finally:
        cluster.thaw("redis")
