"""A session in cookies holds at every gateway, and ends at every one."""

from __future__ import annotations

import httpx
import pytest
from tests.clusters import eventually
from tests.security.identity.people import PASSWORD, make_user

pytestmark = pytest.mark.servers

OURS = {"X-Oql-Csrf": "1", "Sec-Fetch-Site": "same-origin"}


def kept(answer: httpx.Response) -> dict[str, str]:
    """The header with which a browser sends back what it was given."""
    pairs = [text.partition(";")[0] for text in answer.headers.get_list("set-cookie")]
    return {"Cookie": "; ".join(pairs)}


async def test_a_session_in_cookies_is_refreshed_and_ended_everywhere(
    admin: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    user = await make_user(admin, roles=["admin"])
    given = {"name": user["name"], "password": PASSWORD, "cookie": True}
    first = kept(await other.post("/api/auth/sign-in", json=given, headers=OURS))
    del admin.headers["Authorization"]
    for http in (admin, other):
        assert (await http.get("/api/auth/me", headers=first)).json()["id"] == user["id"]
    named = {"name": f"by cookie, {user['id']}"}
    assert (await other.post("/api/account", json=named, headers=first)).status_code == 403
    made = await other.post("/api/account", json=named, headers={**first, **OURS})
    assert made.json()["created_by"] == user["id"]
    second = kept(await admin.post("/api/auth/refresh", headers={**first, **OURS}))
    out = await admin.post("/api/auth/sign-out", headers={**second, **OURS})
    assert out.status_code == 204

    async def ended() -> bool:
        answers = [await http.get("/api/account", headers=second) for http in (admin, other)]
        return [answer.status_code for answer in answers] == [401, 401]

    await eventually(ended, within_s=10, what="the end of the session everywhere")
    again = await other.post("/api/auth/refresh", headers={**second, **OURS})
    assert again.status_code == 401
