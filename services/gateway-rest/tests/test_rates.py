"""Limits of callers, tenants and addresses, and how answers tell them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest

from objectql.clock import SystemClock
from objectql.context import Actor
from objectql.errors import Unauthenticated
from objectql.ids import TenantId
from objectql.rates.limiter import Limiter
from objectql.service.addresses import Proxies
from objectql.service.caller_rates import Rates
from objectql.service.settings import SettingsInvalid, load_settings
from objectql_gateway_rest.application import create_application
from objectql_gateway_rest.settings import GatewayRestSettings, RateSettings

FIELDS = {
    "ratelimit",
    "ratelimit-policy",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
}


class HeldClock(SystemClock):
    def __init__(self) -> None:
        self.time_s = 100.0

    def monotonic_s(self) -> float:
        return self.time_s


class Verifier:
    """The token is `tenant/user/role/role...`; `bad` is nobody."""

    async def verify(self, token: str) -> Actor:
        if token == "bad":
            raise Unauthenticated
        tenant, user, *roles = token.split("/")
        return Actor(id=user, tenant=TenantId(tenant), roles=tuple(roles))


class Gateway:
    """The application within `settings`; time stands."""

    def __init__(self, services: Any, settings: RateSettings, proxies: tuple[str, ...]) -> None:
        self.clock = HeldClock()
        self.refused: list[str] = []
        rates = Rates(
            settings, Limiter(self.clock), refused=self.refused.append, address=settings.address
        )
        limited = msgspec.structs.replace(
            services, rates=rates, verifier=Verifier(), proxies=Proxies(proxies)
        )
        transport = httpx.ASGITransport(
            app=create_application(limited),  # pyright: ignore[reportArgumentType]
            client=("203.0.113.7", 4711),
        )
        self.http = httpx.AsyncClient(transport=transport, base_url="http://gateway")

    async def get(self, token: str, path: str = "/api/task/1", **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return await self.http.get(path, headers=headers, **more)

    async def statuses(self, token: str, times: int) -> list[int]:
        return [(await self.get(token)).status_code for _ in range(times)]

    async def sign_in(self, **headers: str) -> httpx.Response:
        body = {"name": "ann", "password": "wrong"}
        return await self.http.post("/api/auth/sign-in", json=body, headers=headers)


@asynccontextmanager
async def limited(
    services: Any, *, proxies: tuple[str, ...] = (), **settings: Any
) -> AsyncGenerator[Gateway]:
    given: dict[str, Any] = {"address": "off"} | settings
    gateway = Gateway(services, RateSettings(**given), proxies)
    async with gateway.http:
        yield gateway


async def test_without_limits_answers_tell_of_none(services: Any) -> None:
    async with limited(services) as gateway:
        answer = await gateway.get("t/ann")
    assert answer.status_code == 200
    assert FIELDS.isdisjoint(answer.headers)


async def test_answers_tell_what_is_left(services: Any) -> None:
    async with limited(services, principal="60/m:5") as gateway:
        answers = [await gateway.get("t/ann") for _ in range(2)]
    assert [answer.headers["ratelimit"] for answer in answers] == [
        '"principal";r=4;t=1',
        '"principal";r=3;t=2',
    ]
    assert answers[0].headers["ratelimit-policy"] == '"principal";q=5;w=5'


async def test_one_request_too_many_is_refused_until_it_may_come(
    services: Any, kernel: Any
) -> None:
    async with limited(services, principal="30/m:2") as gateway:
        assert await gateway.statuses("t/ann", 2) == [200, 200]
        asked = kernel.count
        refused = await gateway.get("t/ann")
        assert kernel.count == asked
        assert refused.status_code == 429
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["retry-after"] == "2"
        assert refused.headers["ratelimit"] == '"principal";r=0;t=4'
        assert refused.headers["x-ratelimit-limit"] == "2"
        assert refused.headers["x-ratelimit-remaining"] == "0"
        assert refused.headers["x-ratelimit-reset"] == "4"
        problem = refused.json()
        assert problem["code"] == "RATE_LIMIT_EXCEEDED"
        assert problem["retry_after_ms"] == 2000
        assert gateway.refused == ["principal"]
        gateway.clock.time_s += problem["retry_after_ms"] / 1000
        assert await gateway.statuses("t/ann", 2) == [200, 429]


@pytest.mark.parametrize(
    ("path", "keys"),
    [("/api/v1/data/task/1", ("code",)), ("/api/data/task/1", ("error", "code"))],
)
async def test_each_surface_refuses_in_its_own_form(
    services: Any, path: str, keys: tuple[str, ...]
) -> None:
    async with limited(services, principal="1/m") as gateway:
        await gateway.get("t/ann", path)
        refused = await gateway.get("t/ann", path)
    assert refused.status_code == 429
    code = refused.json()
    for key in keys:
        code = code[key]
    assert code == "RATE_LIMIT_EXCEEDED"
    assert refused.headers["retry-after"] == "60"


async def test_each_caller_has_a_limit_of_their_own(services: Any) -> None:
    async with limited(services, principal="1/m") as gateway:
        for token in ("t/ann", "t/bob", "u/ann"):
            assert await gateway.statuses(token, 2) == [200, 429]


async def test_the_largest_limit_of_the_roles_counts(services: Any) -> None:
    roles = ("premium=3/m", "bot=1/m", "free=off")
    async with limited(services, principal="2/m", roles=roles) as gateway:
        assert await gateway.statuses("t/a/other", 3) == [200, 200, 429]
        assert await gateway.statuses("t/b/bot", 2) == [200, 429]
        assert await gateway.statuses("t/c/bot/premium", 4) == [200, 200, 200, 429]
        assert await gateway.statuses("t/d/bot/free", 9) == [200] * 9


async def test_a_tenant_has_a_limit_for_all_its_callers(services: Any) -> None:
    async with limited(services, tenant="2/m", tenants=("big=3/m", "own=off")) as gateway:
        tokens = ("t/ann", "t/bob", "t/cid")
        assert [(await gateway.get(token)).status_code for token in tokens] == [200, 200, 429]
        assert await gateway.statuses("u/ann", 3) == [200, 200, 429]
        assert await gateway.statuses("big/ann", 4) == [200, 200, 200, 429]
        assert await gateway.statuses("own/ann", 9) == [200] * 9
    assert gateway.refused == ["tenant"] * 3


async def test_a_tenants_limit_holds_for_callers_who_have_just_enough(services: Any) -> None:
    async with limited(services, principal="1/m", tenant="2/m") as gateway:
        tokens = ("t/ann", "t/bob", "t/cid")
        assert [(await gateway.get(token)).status_code for token in tokens] == [200, 200, 429]


async def test_what_one_caller_is_refused_costs_the_tenant_nothing(services: Any) -> None:
    async with limited(services, principal="1/m", tenant="3/m") as gateway:
        assert await gateway.statuses("t/flood", 50) == [200] + [429] * 49
        assert await gateway.statuses("t/ann", 1) == [200]
        answer = await gateway.get("t/bob")
    assert answer.status_code == 200
    assert answer.headers["ratelimit"].startswith('"principal";r=0;')


async def test_the_nearest_limit_is_told(services: Any) -> None:
    async with limited(services, principal="10/m", tenant="5/m") as gateway:
        answer = await gateway.get("t/ann")
    assert answer.headers["ratelimit-policy"] == '"tenant";q=5;w=60'


async def test_whoever_is_nobody_spends_nothing_of_anybody(services: Any) -> None:
    async with limited(services, principal="1/m", tenant="1/m") as gateway:
        refused = await gateway.get("bad")
        assert refused.status_code == 401
        assert FIELDS.isdisjoint(refused.headers)
        assert await gateway.statuses("t/ann", 1) == [200]


async def test_credentials_are_tried_so_often_from_one_address(services: Any, kernel: Any) -> None:
    async with limited(services, address="2/m") as gateway:
        first = [await gateway.sign_in() for _ in range(2)]
        assert not any(answer.status_code == 429 for answer in first)
        refused = await gateway.http.post("/api/auth/refresh", content=b"not even JSON")
        assert refused.status_code == 429
        assert refused.headers["ratelimit-policy"] == '"address";q=2;w=60'
        assert await gateway.statuses("t/ann", 5) == [200] * 5


async def test_nobody_makes_up_an_address(services: Any) -> None:
    async with limited(services, address="1/m") as gateway:
        await gateway.sign_in()
        refused = await gateway.sign_in(**{"X-Forwarded-For": "198.51.100.1"})
    assert refused.status_code == 429


async def test_clients_of_a_trusted_proxy_have_their_own_addresses(services: Any) -> None:
    async with limited(services, address="1/m", proxies=("203.0.113.0/24",)) as gateway:
        one, two = {"X-Forwarded-For": "198.51.100.1"}, {"X-Forwarded-For": "198.51.100.2"}
        answers = [await gateway.sign_in(**headers) for headers in (one, two, one)]
    assert [answer.status_code == 429 for answer in answers] == [False, False, True]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PRINCIPAL", "100"),
        ("TENANT", "0/s"),
        ("ROLES", "premium"),
        ("TENANTS", "acme=100/s,beta=1/week"),
        ("URL", "http://127.0.0.1"),
    ],
)
def test_a_limit_that_is_none_stops_the_start(name: str, value: str) -> None:
    with pytest.raises(SettingsInvalid, match="OQL_GATEWAY_REST_RATES"):
        load_settings(
            GatewayRestSettings, "OQL_GATEWAY_REST", {f"OQL_GATEWAY_REST_RATES__{name}": value}
        )
