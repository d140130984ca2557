"""Webhooks are no way into the network of the cluster (S14)."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx
import pytest

from objectql.testing.receivers import Received, Receiver, Reply, receiving
from objectql_devstack.cluster import Cluster
from tests.clusters import body, client

pytestmark = pytest.mark.servers

WEBHOOK = {"name": "probe", "objects": ["account"], "run_as": {"roles": ["admin"]}}


@pytest.fixture
async def http(guarded: Cluster) -> AsyncGenerator[httpx.AsyncClient]:
    async with client(guarded.env) as found:
        yield found


@pytest.fixture
async def victim() -> AsyncGenerator[Receiver]:
    """Somebody on this machine, at an address that the development cluster does not allow."""
    async with receiving("127.0.0.2") as found:
        yield found


@pytest.mark.parametrize(
    "host",
    ["127.0.0.2", "[::ffff:127.0.0.2]", "2130706434", "0x7f000002", "0177.0.0.2", "127.0.2",
     "10.0.0.1", "169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "192.168.1.1",
     "[fe80::1]", "[64:ff9b::7f00:2]", "[2002:7f00:2::]", "0.0.0.0", "nowhere.invalid"],
)  # fmt: skip
async def test_no_address_inside_is_declared(
    http: httpx.AsyncClient, victim: Receiver, host: str
) -> None:
    url = f"http://{host}:{victim.port}/"
    answer = await http.post("/api/admin/webhooks", content=body(WEBHOOK | {"url": url}))
    assert answer.status_code == 400, answer.text
    assert [issue["path"] for issue in answer.json()["errors"]] == ["url"]
    assert victim.connections == 0


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "gopher://127.0.0.1:6379/_x", "http://a:b@127.0.0.1/",
     "http://127.0.0.1\\@example.com/", "http://127.0.0.1/\r\nX: y", "//127.0.0.1/", ""],
)  # fmt: skip
async def test_no_other_kind_of_url_is_declared(http: httpx.AsyncClient, url: str) -> None:
    answer = await http.post("/api/admin/webhooks", content=body(WEBHOOK | {"url": url}))
    assert answer.status_code == 400, answer.text


async def test_redirect_to_an_address_inside_is_not_followed(
    http: httpx.AsyncClient, victim: Receiver
) -> None:
    async with receiving() as allowed:

        async def redirect(_request: Received) -> Reply:
            return Reply(302, {"Location": victim.url})

        allowed.answer = redirect
        hook = body(WEBHOOK | {"url": allowed.url})
        assert (await http.post("/api/admin/webhooks", content=hook)).status_code == 201
        try:
            told = (await http.post("/api/admin/webhooks/probe/test", content=b"{}")).json()
        finally:
            await http.delete("/api/admin/webhooks/probe")
    assert (told["ok"], told["status"]) == (False, 302)
    assert (allowed.connections, victim.connections) == (1, 0)
