from __future__ import annotations

from typing import Any

import pytest

from objectql.wire.messages import ExplainAccessRequest, PermissionsRequest


async def test_callers_ask_what_they_may_do(client: Any, kernel: Any) -> None:
    answer = await client.get("/api/meta/permissions/me")
    assert answer.json() == {"user": "u1", "roles": [], "objects": {}}
    assert kernel.last[:2] == ("permissions", PermissionsRequest())


@pytest.mark.parametrize("path", ["/api/meta/permissions/explain", "/api/v1/security/explain"])
async def test_a_question_about_a_decision_reaches_the_kernel(
    client: Any, kernel: Any, path: str
) -> None:
    body = {"object": "task", "operation": "read", "recordId": "t1", "userId": "ann"}
    answer = await client.post(path, json={**body, "roles": ["sales"], "claims": {"region": "w"}})
    assert answer.json() == {"allowed": True, "because": []}
    asked = ExplainAccessRequest("task", "read", "t1", "ann", ("sales",), {"region": "w"})
    assert kernel.last[1] == asked


async def test_a_question_of_another_shape_is_refused(client: Any, kernel: Any) -> None:
    for body in ({"object": "task"}, {"object": "task", "operation": "read", "who": "ann"}):
        assert (await client.post("/api/v1/security/explain", json=body)).status_code == 400
    assert kernel.count == 0
