"""What a tenant may try against another on the surfaces of the clients of other servers.

All surfaces lead to the same statements, so most attempts are those of `attempts`.
"""

from __future__ import annotations

from tests.security.cross_tenant.asking import Ask
from tests.security.cross_tenant.reading import CONTACT, DOCUMENTS, EVERY, GROUPS, LISTS
from tests.security.cross_tenant.writing import BATCHES, CHANGE, COMMANDS, CREATES, DELETES, UPDATES

WON = {"object": "opportunity", "name": "close_won"}
META = {"type": "object", "name": "account", "field": "name"}
REFUSED = Ask(owner="may not")
"""For routes that know nothing of tenants, and for those that are not for tenants."""

V1: dict[str, tuple[Ask, ...]] = {
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
        Ask({"recordId": "<opportunity>", "params": {"note": "Taken over"}}, path=WON, owner="may"),
    ),
    "GET /api/v1/data/{object}": LISTS,
    "GET /api/v1/data/{object}/export": (
        Ask(of=EVERY),
        Ask(query={"format": "json", "filter": "id eq '<id>'"}, has_twin=True),
        Ask(query={"format": "json", "expand": "account"}, of=CONTACT),
    ),
    "POST /api/v1/data/{object}": CREATES,
    "POST /api/v1/data/{object}/query": (*DOCUMENTS, *GROUPS),
    "GET /api/v1/data/{object}/{id}": (
        Ask(of=EVERY),
        Ask(query={"expand": "account"}, of=CONTACT),
    ),
    "PATCH /api/v1/data/{object}/{id}": (
        *UPDATES,
        Ask({**CHANGE, "expectedVersion": 77}, owner="may not"),
    ),
    "PUT /api/v1/data/{object}/{id}": UPDATES,
    "DELETE /api/v1/data/{object}/{id}": DELETES,
    "POST /api/v1/data/{object}/{id}/clone": (
        Ask({"overrides": {"name": "cloned <account_name>"}}),
        Ask({}, of=("task",)),
    ),
    "POST /api/v1/batch": BATCHES,
    "POST /api/v1/data/{object}/batch": (
        Ask(
            {"operation": "update", "records": [{"id": "<id>", "data": CHANGE}]},
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
        Ask({"records": [{"id": "<id>", "data": CHANGE}]}, owner="may"),
    ),
    "POST /api/v1/data/{object}/deleteMany": (
        Ask({"ids": ["<id>"]}, of=("task", "contact"), owner="may"),
    ),
    "GET /api/v1/meta": (Ask(owner="may"),),
    "GET /api/v1/meta/{type}": (Ask(path=META, owner="may"),),
    "GET /api/v1/meta/{type}/{name}": (Ask(path=META, owner="may"),),
    "PUT /api/v1/meta/{type}/{name}": (Ask({"fields": {}}, path=META, owner="may not"),),
    "DELETE /api/v1/meta/{type}/{name}": (Ask(path=META, owner="may not"),),
    "GET /api/v1/ui/view/{object}/{type}": (Ask(path={"type": "list"}, owner="may"),),
    "GET /api/v1/meta/{type}/{name}/state/{field}": (
        Ask(
            path={"type": "object", "name": "opportunity", "field": "stage"},
            query={"from": "proposal"},
            owner="may",
        ),
    ),
}
"""The ObjectStack client's."""

SDK: dict[str, tuple[Ask, ...]] = {
    "GET /api/data/{object}": LISTS,
    "POST /api/data/{object}": CREATES,
    "PUT /api/data/{object}": (REFUSED,),
    "DELETE /api/data/{object}": (REFUSED,),
    "GET /api/data/{object}/{id}": (Ask(of=EVERY), Ask(query={"expand": "account"}, of=CONTACT)),
    "PUT /api/data/{object}/{id}": UPDATES,
    "PATCH /api/data/{object}/{id}": UPDATES,
    "DELETE /api/data/{object}/{id}": DELETES,
    "POST /api/data/{object}/bulk-update": (
        Ask({"filters": {"id": "<id>"}, "data": CHANGE}, owner="may"),
        Ask({"filters": {"<label>": "<name>"}, "data": CHANGE}, owner="may"),
    ),
    "POST /api/data/{object}/bulk-delete": (
        Ask({"filters": {"id": "<id>"}}, of=("contact", "task"), owner="may"),
        Ask({"filters": {"account.name": "<account_name>"}}, of=("contact", "task"), owner="may"),
    ),
    "POST /api/objectql": (
        *(
            Ask({"op": "find", "object": "<object>", "args": ask.body}, of=ask.of)
            for ask in DOCUMENTS
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
            {"op": "update", "object": "<object>", "args": {"id": "<id>", "data": CHANGE}},
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
                "args": {"filters": {"id": "<id>"}, "data": CHANGE},
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
        Ask({"object": "<object>", **ask.body}, of=ask.of) for ask in DOCUMENTS
    ),
    "POST /api/command": COMMANDS,
    "POST /api/execute": COMMANDS,
    "GET /api/metadata": (Ask(owner="may"),),
    "GET /api/metadata/objects": (Ask(owner="may"),),
    "GET /api/metadata/object": (Ask(owner="may"),),
    "GET /api/metadata/object/{name}": (Ask(path=META, owner="may"),),
    "GET /api/metadata/objects/{name}": (Ask(path=META, owner="may"),),
    "GET /api/metadata/object/{name}/fields/{field}": (Ask(path=META, owner="may"),),
    "GET /api/metadata/object/{name}/actions": (Ask(path=META, owner="may"),),
    "GET /api/metadata/{type}": (Ask(path=META, owner="may"),),
    "GET /api/metadata/{type}/{name}": (Ask(path=META, owner="may"),),
    "PUT /api/metadata/{type}/{name}": (Ask({"fields": {}}, path=META, owner="may not"),),
    "POST /api/metadata/{type}/{name}": (Ask({"fields": {}}, path=META, owner="may not"),),
    "DELETE /api/metadata/{type}/{name}": (Ask(path=META, owner="may not"),),
}
"""The ObjectQL SDK's."""
