"""`/api/admin/audit`: the security log, and whether the chains of a tenant hold."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from objectql.errors import InvalidQuery, InvalidRequest
from objectql.wire.audit import AuditListRequest, AuditVerifyReply, AuditVerifyRequest
from objectql.wire.messages import PageReply
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.params import known_params
from objectql_gateway_rest.representation import json_response, page_response
from objectql_gateway_rest.routes import Route

_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")


_PARAMS: Final = ("tenant", "kind", "actor", "from", "to", "$top", "$after")


async def entries(call: Call) -> Response:
    """A page of the security log, the latest first."""
    params = known_params(call, *_PARAMS)
    top = params.get("$top", "100")
    if not (top.isascii() and top.isdecimal()) or len(top) > 9:
        raise InvalidQuery(reason=f'"{top[:40]}" is not a number of entries', path="$top")
    request = AuditListRequest(
        tenant=params.get("tenant"),
        kind=params.get("kind"),
        actor=params.get("actor"),
        since=params.get("from"),
        until=params.get("to"),
        limit=int(top),
        after=params.get("$after"),
    )
    return page_response(await call.read("audit_list", request, PageReply))


async def verify_own(call: Call) -> Response:
    return await _verify(call, None)


async def verify(call: Call, id: str) -> Response:
    return await _verify(call, id)


async def _verify(call: Call, tenant: str | None) -> Response:
    """All steps of a verification in one answer."""
    anchor = known_params(call, "anchor").get("anchor")
    if anchor is not None and _HASH.match(anchor) is None:
        raise InvalidRequest(reason="an anchor is a hash of 64 hexadecimal digits in lower case")
    chains: list[dict[str, Any]] = []
    place: bytes | None = None
    while True:
        request = AuditVerifyRequest(tenant, anchor, place)
        reply = await call.read("audit_verify", request, AuditVerifyReply)
        chains += msgspec.json.decode(reply.chains)
        place = reply.place
        if place is None:
            break
        await call.go_on()  # each step has the time of a request
    broken = next((chain for chain in chains if not chain["intact"]), None)
    is_known = anchor is None or any(chain["anchored"] for chain in chains)
    answer = {
        "tenant": call.context.tenant if tenant is None else tenant,
        "intact": broken is None and is_known,
        "broken": None if broken is None else {"chain": broken["chain"], **broken["broken"]},
        "anchor": None if anchor is None else {"hash": anchor, "known": is_known},
        "chains": chains,
    }
    return json_response(answer)


ROUTES = (
    Route("GET", "/api/admin/audit", entries),
    Route("GET", "/api/admin/audit/verify", verify_own),
    Route("GET", "/api/admin/tenants/{id}/audit/verify", verify),
)
