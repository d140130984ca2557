"""Users, sessions and keys for the tests, made through the API."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import httpx
from tests.clusters import body

ROOT_NAME = "root"
PASSWORD = "correct horse battery"

_numbers = itertools.count()


class Person(NamedTuple):
    """A user with the tokens of a session."""

    id: str
    name: str
    access: str
    refresh: str


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def make_user(admin: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    """A new user of the administrator's tenant, with the password of all of them."""
    given = {"name": f"user{next(_numbers)}", "password": PASSWORD, **more}
    answer = await admin.post("/api/auth/users", content=body(given))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def sign_in(http: httpx.AsyncClient, name: str, **more: Any) -> httpx.Response:
    given = {"name": name, "password": PASSWORD, **more}
    return await http.post("/api/auth/sign-in", json=given)


async def new_person(admin: httpx.AsyncClient, **more: Any) -> Person:
    """A new user who has signed in."""
    user = await make_user(admin, **more)
    answer = await sign_in(admin, user["name"])
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    return Person(user["id"], user["name"], tokens["access_token"], tokens["refresh_token"])


async def status(http: httpx.AsyncClient, token: str, path: str = "/api/account") -> int:
    """What a read with `token` is answered."""
    return (await http.get(path, headers=bearer(token))).status_code
