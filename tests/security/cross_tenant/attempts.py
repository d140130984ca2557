"""What a tenant may try against another, route by route.

A route is in one of `ATTEMPTS`, or `is_absent`; `test_probe.py` fails for one that is not. Each
attempt is made twice, about data that are there and about data that are not, see `asking.Ask`.
"""

from __future__ import annotations

from typing import Any

from objectql_gateway_rest.routes import Route
from tests.security.cross_tenant.asking import Ask
from tests.security.cross_tenant.victim import LABELS

EVERY = tuple(LABELS)


def is_absent(route: Route) -> bool:
    """Whether nothing is behind a route but the answer that there is nothing."""
    return route.handler.__qualname__.startswith("absent.")


def _list(of: tuple[str, ...] = ("account",), owner: Any = "sees", **words: str) -> Ask:
    """A question in the parameters of a URL; all surfaces understand the same words."""
    return Ask(query=words, of=of, owner=owner)


_CONTACT, _OPPORTUNITY = ("contact",), ("opportunity",)

_LISTS = (
    _list(of=EVERY),
    Ask(query={"filter": "id eq '<id>'", "expand": "contact,task"}, has_twin=True),
    Ask(query={"filter": "account eq '<account>'"}, of=("contact", "task"), has_twin=True),
    _list(filter="id eq '<id>'", of=EVERY),
    _list(filter="id in ('<id>','<own_account>')", of=EVERY),
    _list(filter="<label> eq '<name>'", of=EVERY),
    _list(filter="startswith(<label>,'<prefix>')", orderby="<label> desc", of=EVERY),
    _list(filter="not (<label> eq 'x')", orderby="<label> desc", top="1000", of=EVERY),
    _list(filter="id eq '<id>'", count="true", top="0", of=EVERY, owner="may"),
    _list(filter="id eq '<id>'", count="estimated"),
    _list(search="<name>", of=EVERY),
    _list(filter="account.name eq '<account_name>'", of=_CONTACT),
    _list(filter="account eq '<account>'", of=_CONTACT),
    _list(filter="last_name ge '<prefix>'", orderby="account.name desc", of=_CONTACT),
    _list(filter="contact.account.name eq '<account_name>'", of=_OPPORTUNITY),
    _list(filter="id eq '<id>'", expand="account", of=_CONTACT),
    _list(filter="id eq '<id>'", expand="contact"),
    _list(filter="id eq '<own_contact>'", expand="account", of=_CONTACT, owner="may"),
    _list(filter="name ge '<prefix>'", orderby="name", top="1", after="<cursor>", owner="may"),
    _list(filter="id eq '<id>'", groupBy="name", aggregations="count as n,max(website) as w"),
    _list(groupBy="account.website", aggregations="count as n", of=_CONTACT),
    _list(groupBy="name,website", aggregations="count as n", having="n ge 1"),
    _list(distinct="true", select="name,website", orderby="name desc"),
)
_EXPLAINED = (
    _list(filter="id eq '<id>'", explain="true", owner="may"),
    _list(filter="name eq '<account_name>'", explain="analyze", owner="may not"),
)

_DOCUMENTS = (
    Ask({"where": {"id": "<id>"}}, of=EVERY),
    Ask({"where": {"<label>": {"$in": ["<name>", "x"]}}, "count": True}, of=EVERY),
    Ask({"where": {"$or": [{"id": "<id>"}, {"$not": {"<label>": "x"}}]}, "limit": 1000}, of=EVERY),
    Ask({"where": {"<label>": {"$like": "<prefix>%"}}, "orderBy": "-<label>"}, of=EVERY),
    Ask(
        {"where": {"account.name": "<account_name>"}, "fields": ["first_name", "account.website"]},
        of=_CONTACT,
    ),
    Ask({"where": {"id": "<id>"}, "expand": {"account": {"expand": {"contact": {}}}}}, of=_CONTACT),
    Ask(
        {
            "where": {"id": "<id>"},
            "expand": {"contact": {"count": True}, "opportunity": {}, "task": {}},
        },
    ),
    Ask({"search": "<name>", "searchMode": "words"}),
)

_GROUPS = (
    Ask({"groupBy": ["website"], "aggregations": ["count as n"], "where": {"id": "<id>"}}),
    Ask(
        {"groupBy": ["account.website"], "aggregations": ["count as n"]},
        of=("contact", "opportunity"),
    ),
    Ask(
        {
            "aggregations": ["count as n", "max(first_name) as m", "min(email) as e"],
            "where": {"email": "<email>"},
        },
        of=_CONTACT,
    ),
    Ask(
        {"aggregations": ["count as n", "sum(amount) as s"], "where": {"id": "<id>"}},
        of=("opportunity",),
        owner="may",
    ),
)

_GETS = (
    Ask(has_twin=True),
    Ask(has_twin=True, query={"expand": "contact,opportunity,task"}),
    Ask(of=EVERY),
    Ask(query={"$expand": "account"}, of=("contact", "opportunity", "task")),
    Ask(query={"$expand": "contact,opportunity,task"}),
    Ask(query={"$select": "website"}),
    Ask(headers={"Oql-Read-Policy": "primary"}, of=EVERY),
)

_CREATES = (
    Ask(
        {"id": "<account>", "name": "<account_name>"},
        headers={"Idempotency-Key": "<key>"},
        owner="may",
    ),
    Ask({"name": "x <account_name>"}, headers={"Idempotency-Key": "<key>"}, owner="may not"),
    Ask({"id": "<account>", "name": "x <account_name>"}, owner="may not"),
    Ask({"name": "<account_name>"}, owner="may not"),
    Ask({"last_name": "x", "email": "<email>"}, of=_CONTACT, owner="may not"),
    Ask({"last_name": "x", "account": "<account>"}, of=_CONTACT, owner="may"),
    Ask({"last_name": "x", "reports_to": "<contact>"}, of=_CONTACT, owner="may"),
    Ask(
        {"subject": "x", "opportunity": "<opportunity>", "account": "<account>"},
        of=("task",),
        owner="may",
    ),
)

_CHANGE = {"<label>": "Taken <id>"}
_UPDATES = (
    Ask(_CHANGE, of=EVERY, owner="may"),
    Ask(_CHANGE, owner="may", has_twin=True),
    Ask(_CHANGE, of=EVERY, owner="may not", headers={"If-Match": '"77"'}),
    Ask(
        {"last_name": "x", "account": "<account>"},
        path={"id": "<own_contact>"},
        of=_CONTACT,
        owner="may not",
    ),
    Ask(
        {"last_name": "x", "reports_to": "<contact>"},
        path={"id": "<own_contact>"},
        of=_CONTACT,
        owner="may not",
    ),
    Ask(
        {"last_name": "x", "email": "<email>"},
        path={"id": "<own_contact>"},
        of=_CONTACT,
        owner="may not",
    ),
)
_REPLACES = (Ask({"name": "Taken <account>"}, owner="may"), *_UPDATES[2:])
_DELETES = (
    Ask(owner="may not", has_twin=True),  # while opportunities name it
    Ask(of=("task",), owner="may"),
    Ask(of=_CONTACT, owner="may"),
    Ask(of=EVERY, owner="may not", headers={"If-Match": '"77"'}),
)

_STEPS: tuple[tuple[list[dict[str, Any]], Any], ...] = (
    (
        [
            {
                "object": "account",
                "action": "update",
                "id": "<account>",
                "data": {"name": "Taken <account>"},
            }
        ],
        "sees",
    ),
    ([{"object": "task", "action": "delete", "id": "<task>"}], "may"),
    (
        [
            {
                "object": "account",
                "action": "upsert",
                "id": "<account>",
                "data": {"name": "Taken <account>"},
            }
        ],
        "sees",
    ),
    (
        [
            {
                "object": "opportunity",
                "action": "update",
                "id": "<opportunity>",
                "data": {"amount": {"$inc": 1}},
            }
        ],
        "sees",
    ),
    (
        [
            {"object": "account", "action": "create", "data": {"name": "new <account_name>"}},
            {
                "object": "contact",
                "action": "update",
                "id": "<contact>",
                "data": {"account": {"$ref": 0}},
            },
        ],
        "sees",
    ),
    (
        [
            {
                "object": "contact",
                "action": "create",
                "data": {"last_name": "x", "account": "<account>"},
            },
            {
                "object": "task",
                "action": "update",
                "id": "<task>",
                "data": {"account": "<account>"},
            },
        ],
        "sees",
    ),
    (
        [
            {"object": "account", "action": "update", "id": {"$ref": 1}, "data": {"name": "x"}},
            {"object": "account", "action": "update", "id": "<account>", "data": {"name": "x"}},
        ],
        "may not",
    ),
)
_BATCHES = (
    *(
        Ask({"operations": steps, "atomic": is_atomic}, owner=owner)
        for steps, owner in _STEPS
        for is_atomic in (True, False)
        if is_atomic or owner != "may not"
    ),
    Ask({"operations": _STEPS[0][0]}, headers={"Idempotency-Key": "<batch_key>"}, owner="may not"),
)

_BULKS = (
    Ask(
        {"operation": "update", "records": [{"id": "<id>", "<label>": "Taken <id>"}]},
        of=EVERY,
        owner="may",
    ),
    Ask({"operation": "delete", "records": ["<id>"]}, of=("task", "contact"), owner="may"),
    Ask(
        {
            "operation": "upsert",
            "records": [{"id": "<account>", "employees": 3, "name": "<account_name>"}],
        }
    ),
    Ask(
        {
            "operation": "upsert",
            "records": [{"name": "<account_name>", "employees": 3}],
            "match": ["name"],
        }
    ),
    Ask(
        {
            "operation": "upsert",
            "records": [{"email": "<email>", "last_name": "x"}],
            "match": ["email"],
        },
        of=_CONTACT,
    ),
    Ask(
        {"operation": "create", "records": [{"id": "<account>", "name": "x <account_name>"}]},
        owner="may",
    ),
    Ask(
        {
            "operation": "update",
            "atomic": True,
            "records": [{"id": "<id>", "if_version": 77, "data": _CHANGE}],
        },
        of=EVERY,
        owner="may",
    ),
)

_COMMANDS = (
    Ask(
        {"type": "create", "object": "account", "data": {"id": "<id>", "name": "x <account_name>"}},
        owner="may not",
    ),
    Ask(
        {"type": "update", "object": "<object>", "id": "<id>", "data": _CHANGE},
        of=EVERY,
        owner="sees",
    ),
    Ask(
        {"type": "delete", "object": "<object>", "id": "<id>"}, of=("contact", "task"), owner="may"
    ),
    Ask(
        {"type": "bulkUpdate", "object": "<object>", "updates": [{"id": "<id>", "data": _CHANGE}]},
        of=EVERY,
        owner="sees",
    ),
    Ask(
        {"type": "bulkDelete", "object": "<object>", "ids": ["<id>"]},
        of=("contact", "task"),
        owner="may",
    ),
)

_WON = {"object": "opportunity", "name": "close_won"}
_REFUSED = Ask(owner="may not")
"""For routes that know nothing of tenants, and for those that are not for tenants."""
_META = {"type": "object", "name": "account", "field": "name"}
_USER, _KEY = {"id": "<user>"}, {"id": "<api_key>"}
_FORGED = "oqlr_<session>_AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAA"

ATTEMPTS: dict[str, tuple[Ask, ...]] = {
    # --- records -----------------------------------------------------------------------------
    "GET /api/{object}": (*_LISTS, *_EXPLAINED),
    "POST /api/{object}": (
        *_CREATES,
        Ask([{"id": "<account>", "name": "x <account_name>"}], owner="may not"),
    ),
    "POST /api/{object}/query": (
        *_DOCUMENTS,
        *_GROUPS,
        Ask({"where": {"id": "<id>"}}, query={"explain": "analyze"}, owner="may not"),
    ),
    "POST /api/{object}/aggregate": (
        *_GROUPS,
        Ask(_GROUPS[0].body, query={"explain": "analyze"}, owner="may not"),
    ),
    "GET /api/{object}/{id}": (
        *_GETS,
        Ask(query={"envelope": "true"}, of=EVERY),
        Ask(headers={"If-None-Match": '"2"'}, owner="may not"),
    ),
    "PUT /api/{object}/{id}": _REPLACES,
    "PATCH /api/{object}/{id}": _UPDATES,
    "DELETE /api/{object}/{id}": _DELETES,
    "GET /api/{object}/{id}/history": (Ask(), Ask(has_twin=True), Ask(query={"$top": "1"})),
    "POST /api/{object}/bulk": _BULKS,
    "POST /api/batch": _BATCHES,
    "GET /api/transactions/{id}": (Ask(path={"id": "<transaction>"}, owner="may"),),
    "POST /api/{object}/actions/{name}": (
        Ask({"id": "<opportunity>"}, path=_WON, owner="may not"),
    ),
    "POST /api/{object}/{id}/actions/{name}": (
        Ask({"note": "Taken over"}, path={**_WON, "id": "<opportunity>"}, owner="may"),
        Ask({}, path={**_WON, "id": "<opportunity>", "name": "nothing"}, owner="may not"),
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
    "GET /api/meta/{type}": (Ask(path=_META, owner="may"),),
    "GET /api/meta/{type}/{name}": (Ask(path=_META, owner="may"),),
    "PUT /api/meta/{type}/{name}": (Ask({"fields": {}}, path=_META, owner="may not"),),
    "DELETE /api/meta/{type}/{name}": (Ask(path=_META, owner="may not"),),
    "GET /api/meta/permissions/me": (Ask(owner="may"),),
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
    "GET /api/admin/tenants": (_REFUSED,),
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
    # --- the ObjectStack client --------------------------------------------------------------
    "GET /api/v1/discovery": (Ask(owner="may"),),
    "GET /.well-known/objectstack": (Ask(owner="may"),),
    "GET /api/v1/search": (
        Ask(query={"q": "<account_name>"}, owner="may"),
        Ask(
            query={
                "q": "<prefix>",
                "objects": "account,contact,opportunity,task",
                "perObject": "25",
            },
            owner="may",
        ),
    ),
    "POST /api/v1/actions/{object}/{name}": (
        Ask(
            {"recordId": "<opportunity>", "params": {"note": "Taken over"}}, path=_WON, owner="may"
        ),
    ),
    "GET /api/v1/data/{object}": _LISTS,
    "POST /api/v1/data/{object}": _CREATES,
    "POST /api/v1/data/{object}/query": (*_DOCUMENTS, *_GROUPS),
    "GET /api/v1/data/{object}/{id}": (
        Ask(of=EVERY),
        Ask(query={"expand": "account"}, of=_CONTACT),
    ),
    "PATCH /api/v1/data/{object}/{id}": (
        *_UPDATES,
        Ask({**_CHANGE, "expectedVersion": 77}, owner="may not"),
    ),
    "PUT /api/v1/data/{object}/{id}": _UPDATES,
    "DELETE /api/v1/data/{object}/{id}": _DELETES,
    "POST /api/v1/data/{object}/{id}/clone": (
        Ask({"overrides": {"name": "cloned <account_name>"}}),
        Ask({}, of=("task",)),
    ),
    "POST /api/v1/batch": _BATCHES,
    "POST /api/v1/data/{object}/batch": (
        Ask(
            {"operation": "update", "records": [{"id": "<id>", "data": _CHANGE}]},
            of=EVERY,
            owner="may",
        ),
        Ask({"operation": "delete", "records": [{"id": "<id>"}]}, of=("task",), owner="may"),
        Ask(
            {
                "operation": "upsert",
                "records": [{"id": "<account>", "data": {"name": "<account_name>"}}],
            }
        ),
        Ask(
            {
                "operation": "create",
                "records": [{"data": {"id": "<account>", "name": "x <account_name>"}}],
            },
            owner="may",
        ),
    ),
    "POST /api/v1/data/{object}/createMany": (
        Ask([{"id": "<account>", "name": "x <account_name>"}], owner="may not"),
    ),
    "POST /api/v1/data/{object}/updateMany": (
        Ask({"records": [{"id": "<id>", "data": _CHANGE}]}, owner="may"),
    ),
    "POST /api/v1/data/{object}/deleteMany": (
        Ask({"ids": ["<id>"]}, of=("task", "contact"), owner="may"),
    ),
    "GET /api/v1/meta": (Ask(owner="may"),),
    "GET /api/v1/meta/{type}": (Ask(path=_META, owner="may"),),
    "GET /api/v1/meta/{type}/{name}": (Ask(path=_META, owner="may"),),
    "PUT /api/v1/meta/{type}/{name}": (Ask({"fields": {}}, path=_META, owner="may not"),),
    "DELETE /api/v1/meta/{type}/{name}": (Ask(path=_META, owner="may not"),),
    "GET /api/v1/ui/view/{object}/{type}": (Ask(path={"type": "list"}, owner="may"),),
    "GET /api/v1/meta/{type}/{name}/state/{field}": (
        Ask(
            path={"type": "object", "name": "opportunity", "field": "stage"},
            query={"from": "proposal"},
            owner="may",
        ),
    ),
    # --- the ObjectQL SDK --------------------------------------------------------------------
    "GET /api/data/{object}": _LISTS,
    "POST /api/data/{object}": _CREATES,
    "PUT /api/data/{object}": (_REFUSED,),
    "DELETE /api/data/{object}": (_REFUSED,),
    "GET /api/data/{object}/{id}": (Ask(of=EVERY), Ask(query={"expand": "account"}, of=_CONTACT)),
    "PUT /api/data/{object}/{id}": _UPDATES,
    "PATCH /api/data/{object}/{id}": _UPDATES,
    "DELETE /api/data/{object}/{id}": _DELETES,
    "POST /api/data/{object}/bulk-update": (
        Ask({"filters": {"id": "<id>"}, "data": _CHANGE}, owner="may"),
        Ask({"filters": {"<label>": "<name>"}, "data": _CHANGE}, owner="may"),
    ),
    "POST /api/data/{object}/bulk-delete": (
        Ask({"filters": {"id": "<id>"}}, of=("contact", "task"), owner="may"),
        Ask({"filters": {"account.name": "<account_name>"}}, of=("contact", "task"), owner="may"),
    ),
    "POST /api/objectql": (
        *(
            Ask({"op": "find", "object": "<object>", "args": ask.body}, of=ask.of)
            for ask in _DOCUMENTS
        ),
        Ask({"op": "findOne", "object": "<object>", "args": "<id>"}),
        Ask(
            {"op": "findOne", "object": "<object>", "args": {"where": {"<label>": "<name>"}}},
            of=EVERY,
        ),
        Ask({"op": "count", "object": "<object>", "args": {"id": "<id>"}}, owner="may"),
        Ask(
            {
                "op": "create",
                "object": "account",
                "args": {"id": "<id>", "name": "x <account_name>"},
            },
            owner="may not",
        ),
        Ask(
            {"op": "update", "object": "<object>", "args": {"id": "<id>", "data": _CHANGE}},
            of=EVERY,
            owner="may",
        ),
        Ask(
            {"op": "delete", "object": "<object>", "args": "<id>"},
            of=("contact", "task"),
            owner="may",
        ),
        Ask(
            {
                "op": "createMany",
                "object": "account",
                "args": [{"id": "<id>", "name": "x <account_name>"}],
            },
            owner="may not",
        ),
        Ask(
            {
                "op": "updateMany",
                "object": "<object>",
                "args": {"filters": {"id": "<id>"}, "data": _CHANGE},
            },
            of=EVERY,
            owner="may",
        ),
        Ask(
            {"op": "deleteMany", "object": "<object>", "args": {"filters": {"id": "<id>"}}},
            of=("contact", "task"),
            owner="may",
        ),
        Ask(
            {
                "op": "action",
                "object": "opportunity",
                "args": {"action": "close_won", "id": "<opportunity>"},
            },
            owner="may",
        ),
    ),
    "POST /api/query": tuple(
        Ask({"object": "<object>", **ask.body}, of=ask.of) for ask in _DOCUMENTS
    ),
    "POST /api/command": _COMMANDS,
    "POST /api/execute": _COMMANDS,
    "GET /api/metadata": (Ask(owner="may"),),
    "GET /api/metadata/objects": (Ask(owner="may"),),
    "GET /api/metadata/object": (Ask(owner="may"),),
    "GET /api/metadata/object/{name}": (Ask(path=_META, owner="may"),),
    "GET /api/metadata/objects/{name}": (Ask(path=_META, owner="may"),),
    "GET /api/metadata/object/{name}/fields/{field}": (Ask(path=_META, owner="may"),),
    "GET /api/metadata/object/{name}/actions": (Ask(path=_META, owner="may"),),
    "GET /api/metadata/{type}": (Ask(path=_META, owner="may"),),
    "GET /api/metadata/{type}/{name}": (Ask(path=_META, owner="may"),),
    "PUT /api/metadata/{type}/{name}": (Ask({"fields": {}}, path=_META, owner="may not"),),
    "POST /api/metadata/{type}/{name}": (Ask({"fields": {}}, path=_META, owner="may not"),),
    "DELETE /api/metadata/{type}/{name}": (Ask(path=_META, owner="may not"),),
    # --- what is the same for everybody ------------------------------------------------------
    "GET /openapi.json": (Ask(owner="may"),),
    "GET /api/openapi.json": (Ask(owner="may"),),
    "GET /openapi-3.0.json": (Ask(owner="may"),),
    "GET /docs": (Ask(owner="may"),),
    "GET /api/docs": (Ask(owner="may"),),
    "GET /docs/assets/{name}": (Ask(path={"name": "<account>"}, owner="may not"),),
}
