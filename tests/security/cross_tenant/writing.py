"""Attempts to change what is another tenant's, in the words that several routes understand."""

from __future__ import annotations

from typing import Any

from tests.security.cross_tenant.asking import Ask
from tests.security.cross_tenant.reading import CONTACT, EVERY

CREATES = (
    Ask(
        {"id": "<account>", "name": "<account_name>"},
        headers={"Idempotency-Key": "<key>"},
        owner="may",
    ),
    Ask({"name": "x <account_name>"}, headers={"Idempotency-Key": "<key>"}, owner="may not"),
    Ask({"id": "<account>", "name": "x <account_name>"}, owner="may not"),
    Ask({"name": "<account_name>"}, owner="may not"),
    Ask({"last_name": "x", "email": "<email>"}, of=CONTACT, owner="may not"),
    Ask({"last_name": "x", "account": "<account>"}, of=CONTACT, owner="may"),
    Ask({"last_name": "x", "reports_to": "<contact>"}, of=CONTACT, owner="may"),
    Ask(
        {"subject": "x", "opportunity": "<opportunity>", "account": "<account>"},
        of=("task",),
        owner="may",
    ),
)

CHANGE = {"<label>": "Taken <id>"}
UPDATES = (
    Ask(CHANGE, of=EVERY, owner="may"),
    Ask(CHANGE, owner="may", has_twin=True),
    Ask(CHANGE, of=EVERY, owner="may not", headers={"If-Match": '"77"'}),
    Ask(
        {"last_name": "x", "account": "<account>"},
        path={"id": "<own_contact>"},
        of=CONTACT,
        owner="may not",
    ),
    Ask(
        {"last_name": "x", "reports_to": "<contact>"},
        path={"id": "<own_contact>"},
        of=CONTACT,
        owner="may not",
    ),
    Ask(
        {"last_name": "x", "email": "<email>"},
        path={"id": "<own_contact>"},
        of=CONTACT,
        owner="may not",
    ),
)
REPLACES = (Ask({"name": "Taken <account>"}, owner="may"), *UPDATES[2:])
DELETES = (
    Ask(owner="may not", has_twin=True),  # while opportunities name it
    Ask(of=("task",), owner="may"),
    Ask(of=CONTACT, owner="may"),
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
BATCHES = (
    *(
        Ask({"operations": steps, "atomic": is_atomic}, owner=owner)
        for steps, owner in _STEPS
        for is_atomic in (True, False)
        if is_atomic or owner != "may not"
    ),
    Ask({"operations": _STEPS[0][0]}, headers={"Idempotency-Key": "<batch_key>"}, owner="may not"),
)

BULKS = (
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
        of=CONTACT,
    ),
    Ask(
        {"operation": "create", "records": [{"id": "<account>", "name": "x <account_name>"}]},
        owner="may",
    ),
    Ask(
        {
            "operation": "update",
            "atomic": True,
            "records": [{"id": "<id>", "if_version": 77, "data": CHANGE}],
        },
        of=EVERY,
        owner="may",
    ),
)

COMMANDS = (
    Ask(
        {"type": "create", "object": "account", "data": {"id": "<id>", "name": "x <account_name>"}},
        owner="may not",
    ),
    Ask(
        {"type": "update", "object": "<object>", "id": "<id>", "data": CHANGE},
        of=EVERY,
        owner="sees",
    ),
    Ask(
        {"type": "delete", "object": "<object>", "id": "<id>"}, of=("contact", "task"), owner="may"
    ),
    Ask(
        {"type": "bulkUpdate", "object": "<object>", "updates": [{"id": "<id>", "data": CHANGE}]},
        of=EVERY,
        owner="sees",
    ),
    Ask(
        {"type": "bulkDelete", "object": "<object>", "ids": ["<id>"]},
        of=("contact", "task"),
        owner="may",
    ),
)
