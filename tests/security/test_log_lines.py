"""No line that a service logs tells a secret or what a record holds (S16)."""

from __future__ import annotations

import json

import pytest

from objectql_devstack.cluster import Cluster
from objectql_devstack.tokens import admin_token
from tests.clusters import body, client

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

VALUE = "Planted value, to be found in no log"
FORGED = admin_token("a key that is not the one of this stack")


async def test_no_log_line_tells_a_secret_or_a_value(guarded: Cluster) -> None:
    planted = [FORGED, "oqlk_planted_secret", "not-a-token-at-all"]
    async with client(guarded.env) as http:
        for status in (201, 409):  # the second breaks a unique index; Postgres quotes the value
            made = await http.post("/api/account", content=body({"name": VALUE}))
            assert made.status_code == status, made.text
        for query in ({"$filter": f"nothing eq '{VALUE}'"}, {"$search": VALUE, "$top": "x"}):
            assert (await http.get("/api/account", params=query)).status_code == 400
        injected = 'Planted\n{"level":"error","event":"forged"}'
        await http.post("/api/account", content=body({"name": injected, "nothing": injected}))
        for token in planted:
            headers = {"Authorization": f"Bearer {token}", "X-Request-Id": "a\tb"}
            assert (await http.get("/api/account", headers=headers)).status_code == 401
    secrets: dict[str, str] = json.loads((guarded.state.path / "state.json").read_text())["secrets"]
    lines = [
        line
        for name in guarded.names
        for line in (guarded.state.logs / f"{name}.log").read_text().splitlines()
    ]
    assert len(lines) > len(guarded.names)
    assert secrets
    for line in lines:
        told = json.loads(line)  # one line is one object, whatever was logged
        assert told.get("event") != "forged"
        for secret in [*planted, *secrets.values(), VALUE, "Planted"]:
            assert secret not in line, line
