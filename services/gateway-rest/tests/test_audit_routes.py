"""The audit over HTTP: steps become one answer."""

from __future__ import annotations

import json
from typing import Any

from objectql.wire import audit as a
from objectql.wire.messages import PageReply


def chain(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "source": "default",
        "chain": name,
        "intact": True,
        "broken": None,
        "entries": 2,
        "first": 1,
        "last": 2,
        "hash": "0" * 64,
        "unsealed": 0,
        "anchored": False,
    } | changes


def reply(*chains: dict[str, Any], place: bytes | None = None) -> a.AuditVerifyReply:
    return a.AuditVerifyReply(json.dumps(chains).encode(), place)


async def test_all_steps_are_one_answer(client: Any, kernel: Any) -> None:
    steps = {None: reply(chain("history/a"), place=b"1"), b"1": reply(chain("security"))}

    async def step(request: a.AuditVerifyRequest, _context: Any) -> a.AuditVerifyReply:
        assert request.tenant == "acme"
        return steps[request.place]

    kernel.slow["audit_verify"] = step
    answer = (await client.get("/api/admin/tenants/acme/audit/verify")).json()
    assert (answer["tenant"], answer["intact"]) == ("acme", True)
    assert (answer["broken"], answer["anchor"]) == (None, None)
    assert [found["chain"] for found in answer["chains"]] == ["history/a", "security"]


async def test_the_first_break_is_named(client: Any, kernel: Any) -> None:
    fault = {"sequence": 2, "fault": "altered", "entry": "e2"}
    broken = chain("history/b", intact=False, broken=fault)
    kernel.answers["audit_verify"] = reply(chain("history/a"), broken)
    answer = (await client.get("/api/admin/audit/verify")).json()
    assert kernel.last[1] == a.AuditVerifyRequest()
    assert (answer["tenant"], answer["intact"]) == ("default", False)
    assert answer["broken"] == {"chain": "history/b", **fault}


async def test_an_anchor_must_be_there(client: Any, kernel: Any) -> None:
    anchor = "a" * 64
    path = f"/api/admin/audit/verify?anchor={anchor}"
    kernel.answers["audit_verify"] = reply(chain("history/a", anchored=True))
    answer = (await client.get(path)).json()
    assert kernel.last[1] == a.AuditVerifyRequest(anchor=anchor)
    assert (answer["intact"], answer["anchor"]) == (True, {"hash": anchor, "known": True})
    kernel.answers["audit_verify"] = reply(chain("history/a"))
    answer = (await client.get(path)).json()
    assert (answer["intact"], answer["anchor"]["known"]) == (False, False)
    for wrong in ("x", anchor.upper(), anchor + "a"):
        refused = await client.get(f"/api/admin/audit/verify?anchor={wrong}")
        assert refused.status_code == 400


async def test_the_log_is_read_by_page_and_filter(client: Any, kernel: Any) -> None:
    kernel.answers["audit_list"] = PageReply(b"[]", 0, 100)
    assert (await client.get("/api/admin/audit")).json() == {
        "items": [],
        "meta": {"size": 100, "has_next": False},
    }
    assert kernel.last[1] == a.AuditListRequest()
    query = "tenant=acme&kind=signed_in&actor=ann&from=2026-01-01&to=2026-02-01&$top=5&$after=x"
    await client.get(f"/api/admin/audit?{query}")
    assert kernel.last[1] == a.AuditListRequest(
        "acme", "signed_in", "ann", "2026-01-01", "2026-02-01", 5, "x"
    )
    for wrong in ("$top=x", "$top=-1", "$top=1.5", "limit=5"):
        assert (await client.get(f"/api/admin/audit?{wrong}")).status_code == 400
