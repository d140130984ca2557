"""What a tenant may try against another, route by route.

A route is in one of `ATTEMPTS`, or `is_absent`; `test_probe.py` fails for one that is not. Each
attempt is made twice, about data that are there and about data that are not, see `asking.Ask`.
"""

from __future__ import annotations

from objectql_gateway_rest.routes import Route
from tests.security.cross_tenant.asking import Ask
from tests.security.cross_tenant.own import OWN_NAMES
from tests.security.cross_tenant.reading import DOCUMENTS, EVERY, EXPLAINED, GETS, GROUPS, LISTS
from tests.security.cross_tenant.surfaces import META, REFUSED, SDK, V1, WON
from tests.security.cross_tenant.writing import BATCHES, BULKS, CREATES, DELETES, REPLACES, UPDATES


def is_absent(route: Route) -> bool:
    """Whether nothing is behind a route but the answer that there is nothing."""
    return route.handler.__qualname__.startswith("absent.")


_USER, _KEY = {"id": "<user>"}, {"id": "<api_key>"}
_TASK = ("task",)
_WEBHOOK = {"name": "<webhook>"}
_FORGED = "oqlr_<session>_AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA"

_OWN: dict[str, tuple[Ask, ...]] = {
    # --- records -----------------------------------------------------------------------------
    "GET /api/{object}": (*LISTS, *EXPLAINED),
    "POST /api/{object}": (
        *CREATES,
        Ask([{"id": "<account>", "name": "x <account_name>"}], owner="may not"),
    ),
    "POST /api/{object}/query": (
        *DOCUMENTS,
        *GROUPS,
        Ask({"where": {"id": "<id>"}}, query={"explain": "analyze"}, owner="may not"),
    ),
    "POST /api/{object}/aggregate": (
        *GROUPS,
        Ask(GROUPS[0].body, query={"explain": "analyze"}, owner="may not"),
    ),
    "GET /api/{object}/{id}": (
        *GETS,
        Ask(query={"envelope": "true"}, of=EVERY),
        Ask(headers={"If-None-Match": '"2"'}, owner="may not"),
    ),
    "PUT /api/{object}/{id}": REPLACES,
    "PATCH /api/{object}/{id}": UPDATES,
    "DELETE /api/{object}/{id}": DELETES,
    "GET /api/{object}/{id}/history": (Ask(), Ask(has_twin=True), Ask(query={"$top": "1"})),
    "GET /api/{object}/{id}/shares": (
        Ask(of=_TASK, owner="may"),
        Ask(of=_TASK, owner="may", has_twin=True),
    ),
    "POST /api/{object}/{id}/shares": (
        Ask({"type": "user", "id": "eve"}, of=_TASK, owner="may"),
        Ask({"type": "user", "id": "<user>", "level": "edit"}, of=_TASK, owner="may"),
    ),
    "DELETE /api/{object}/{id}/shares/{share}": (
        Ask(path={"share": "user:eve"}, of=_TASK, owner="may"),
    ),
    "POST /api/{object}/bulk": BULKS,
    "POST /api/batch": BATCHES,
    "GET /api/transactions/{id}": (Ask(path={"id": "<transaction>"}, owner="may"),),
    "POST /api/{object}/actions/{name}": (Ask({"id": "<opportunity>"}, path=WON, owner="may not"),),
    "POST /api/{object}/{id}/actions/{name}": (
        Ask({"note": "Taken over"}, path={**WON, "id": "<opportunity>"}, owner="may"),
        Ask({}, path={**WON, "id": "<opportunity>", "name": "nothing"}, owner="may not"),
    ),
    # --- identity ----------------------------------------------------------------------------
    "POST /api/auth/sign-in": (
        Ask(
            {"name": "<user_name>", "password": "guessed at", "tenant": "<tenant>"}, owner="may not"
        ),
    ),
    "POST /api/auth/refresh": (Ask({"refresh_token": _FORGED}, owner="may not"),),
    "GET /api/auth/jwks.json": (Ask(owner="may"),),
    "POST /api/auth/sign-out": (Ask({"refresh_token": _FORGED}, owner="may"),),
    "POST /api/auth/password": (
        Ask({"current": "x", "new": "a long pass phrase"}, owner="may not"),
    ),
    "GET /api/auth/me": (Ask(owner="may"),),
    "GET /api/auth/users": (Ask(owner="may"), Ask(query={"$after": "<user>"}, owner="may")),
    "POST /api/auth/users": (
        Ask({"id": "<user>", "name": "x <user_name>"}, owner="may not"),
        Ask({"name": "<user_name>"}, owner="may not"),
    ),
    "GET /api/auth/users/{id}": (Ask(path=_USER, owner="may"),),
    "PATCH /api/auth/users/{id}": (Ask({"active": False, "roles": []}, path=_USER, owner="may"),),
    "DELETE /api/auth/users/{id}": (Ask(path=_USER, owner="may"),),
    "GET /api/auth/keys": (Ask(owner="may"), Ask(query={"$after": "<api_key>"}, owner="may")),
    "POST /api/auth/keys": (Ask({"name": "x", "user": "<user>"}, owner="may"),),
    "PATCH /api/auth/keys/{id}": (Ask({"name": "Taken <account>"}, path=_KEY, owner="may"),),
    "DELETE /api/auth/keys/{id}": (Ask(path=_KEY, owner="may"),),
    "POST /api/auth/revoke": (
        Ask({"kind": "user", "id": "<user>"}, owner="may"),
        Ask({"kind": "session", "id": "<session>"}, owner="may"),
        Ask({"kind": "token", "id": "<session>"}, owner="may"),
    ),
    # --- metadata and permissions ------------------------------------------------------------
    "GET /api/meta": (Ask(owner="may"),),
    "GET /api/meta/{type}": (Ask(path=META, owner="may"),),
    "GET /api/meta/{type}/{name}": (Ask(path=META, owner="may"),),
    "PUT /api/meta/{type}/{name}": (Ask({"fields": {}}, path=META, owner="may not"),),
    "DELETE /api/meta/{type}/{name}": (Ask(path=META, owner="may not"),),
    "GET /api/meta/permissions/me": (Ask(owner="may"),),
    "GET /api/meta/proto": (Ask(owner="may"),),
    "GET /api/meta/proto/{object}": (Ask(owner="may"),),
    "POST /api/meta/permissions/explain": (
        Ask(
            {"object": "<object>", "operation": "read", "recordId": "<id>", "userId": "<user>"},
            of=EVERY,
            owner="may",
        ),
    ),
    "GET /api/v1/security/me": (Ask(owner="may"),),
    "POST /api/v1/security/explain": (
        Ask(
            {"object": "<object>", "operation": "update", "recordId": "<id>"}, of=EVERY, owner="may"
        ),
    ),
    # --- tenants -----------------------------------------------------------------------------
    "GET /api/admin/tenants": (REFUSED,),
    "POST /api/admin/tenants": (Ask({"id": "<tenant>"}, owner="may not"),),
    "GET /api/admin/tenants/{id}": (Ask(path={"id": "<tenant>"}, owner="may not"),),
    "PATCH /api/admin/tenants/{id}": (
        Ask({"suspended": True}, path={"id": "<tenant>"}, owner="may not"),
    ),
    "DELETE /api/admin/tenants/{id}": (
        Ask(path={"id": "<tenant>"}, query={"confirm": "<tenant>"}, owner="may not"),
    ),
    "GET /api/admin/tenants/{id}/usage": (Ask(path={"id": "<tenant>"}, owner="may not"),),
    "GET /api/admin/tenants/{id}/export": (Ask(path={"id": "<tenant>"}, owner="may not"),),
    # --- audit -------------------------------------------------------------------------------
    "GET /api/admin/audit": (
        Ask(query={"tenant": "<tenant>"}, owner="may not"),
        Ask(query={"actor": "<user>"}, owner="may"),
    ),
    # The caller's own chains are told as they are at the moment, so the question must be refused.
    "GET /api/admin/audit/verify": (Ask(query={"anchor": "<account>"}, owner="may not"),),
    "GET /api/admin/tenants/{id}/audit/verify": (Ask(path={"id": "<tenant>"}, owner="may not"),),
    # --- webhooks ----------------------------------------------------------------------------
    "GET /api/admin/webhooks": (Ask(owner="may"),),
    "POST /api/admin/webhooks": (
        Ask(
            {
                "name": "<webhook>",
                "url": "http://127.0.0.1:9/",
                "objects": ["account"],
                "run_as": {"user": "<user>"},
            },
            owner="may not",
        ),
    ),
    "GET /api/admin/webhooks/{name}": (Ask(path=_WEBHOOK),),
    "PATCH /api/admin/webhooks/{name}": (Ask({"active": True}, path=_WEBHOOK),),
    "DELETE /api/admin/webhooks/{name}": (Ask(path=_WEBHOOK, owner="may"),),
    "POST /api/admin/webhooks/{name}/rotate": (Ask({}, path=_WEBHOOK),),
    "POST /api/admin/webhooks/{name}/test": (Ask({}, path=_WEBHOOK, owner="may"),),
    "GET /api/admin/webhooks/{name}/deliveries": (Ask(path=_WEBHOOK, owner="may"),),
    "POST /api/admin/webhooks/{name}/replay": (Ask({"dead": True}, path=_WEBHOOK, owner="may"),),
    # --- what is the same for everybody ------------------------------------------------------
    "GET /openapi.json": (Ask(owner="may"),),
    "GET /api/openapi.json": (Ask(owner="may"),),
    "GET /openapi-3.0.json": (Ask(owner="may"),),
    "GET /docs": (Ask(owner="may"),),
    "GET /api/docs": (Ask(owner="may"),),
    "GET /docs/assets/{name}": (Ask(path={"name": "<account>"}, owner="may not"),),
}

_ALL = {**_OWN, **V1, **SDK}
ATTEMPTS = {
    label: (*_ALL.get(label, ()), *OWN_NAMES.get(label, ())) for label in {**_ALL, **OWN_NAMES}
}
