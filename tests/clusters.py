"""Clusters for the tests: real servers and real processes on free ports."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import jwt

from objectql_devstack.cluster import Cluster

ROOT = Path(__file__).resolve().parent.parent
FLIGHTS = ROOT / "examples" / "flights"
CRM = ROOT / "examples" / "crm"
BANK = ROOT / "examples" / "bank"

_TRUSTED = ssl.create_default_context()  # made once: it takes longer than a hundred requests


def one_of_each(root: Path, kernel_env: dict[str, str]) -> Cluster:
    """One process of each service with the CRM, not started; `kernel_env` is read at each start."""
    return Cluster(
        root,
        ports="free",
        kernels=1,
        counts={"coordinator": 1},
        metadata=[CRM],
        ephemeral=True,
        extra_env={"kernel-1": kernel_env},
    )


def client(env: dict[str, str], *, token: str | None = None) -> httpx.AsyncClient:
    """An HTTP client of the REST gateway that `env` names, as the admin unless told otherwise."""
    return httpx.AsyncClient(
        base_url=env["OQL_REST_URL"],
        headers={
            "Authorization": f"Bearer {token or env['OQL_ADMIN_TOKEN']}",
            "Content-Type": "application/json",
        },
        timeout=30,
        verify=_TRUSTED,
    )


def administrator(env: dict[str, str], tenant: str) -> httpx.AsyncClient:
    """`client` as an administrator of `tenant`, by a token of the development key."""
    claims = {"sub": "u1", "tenant": tenant, "roles": ["admin"], "exp": int(time.time()) + 3600}
    return client(env, token=jwt.encode(claims, env["OQL_JWT_SECRET"], algorithm="HS256"))


def token_of(cluster: Cluster, user: str, *, role: str = "member", **claims: Any) -> str:
    """A token of the development key for `user`."""
    told = {"sub": user, "roles": [role], "exp": int(time.time()) + 600} | claims
    return jwt.encode(told, cluster.env["OQL_JWT_SECRET"], algorithm="HS256")


async def eventually(
    check: Callable[[], Awaitable[Any]], *, within_s: float, what: str
) -> tuple[Any, float]:
    """The first truthy answer of `check`, and how long it took; fails after `within_s`.

    `check` may raise connection errors while a server is away.
    """
    started = time.monotonic()
    last: Any = None
    while time.monotonic() - started < within_s:
        try:
            last = await check()
        except (httpx.HTTPError, OSError) as exc:
            last = exc
        else:
            if last:
                return last, time.monotonic() - started
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {within_s} s; last: {last!r}")


def body(value: Any) -> bytes:
    """JSON bytes."""
    return json.dumps(value).encode()
