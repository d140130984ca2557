"""`/api/admin/audit` and the audit of a tenant: whether its chains hold."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from objectql.errors import InvalidRequest
from objectql.wire.audit import AuditVerifyReply, AuditVerifyRequest
from objectql_gateway_rest.asgi import Response
from objectql_gateway_rest.call import Call
from objectql_gateway_rest.params import known_params
from objectql_gateway_rest.representation import json_response
from objectql_gateway_rest.routes import Route

_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")


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
        call.extend_deadline()  # each step has the time of a request
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
    Route("GET", "/api/admin/audit/verify", verify_own),
    Route("GET", "/api/admin/tenants/{id}/audit/verify", verify),
)
