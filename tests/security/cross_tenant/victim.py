"""Two tenants: one that asks, and one whose data must stay unseen, with fresh ones for each attempt."""

from __future__ import annotations

import itertools
import json
import secrets
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, NamedTuple

import httpx

from objectql.ids import uuid7
from objectql.query.cursor import encode_cursor
from tests.clusters import administrator, client
from tests.security.cross_tenant.asking import Ask, Known, placeholders

LABELS: Mapping[str, str] = {
    "account": "name",
    "contact": "last_name",
    "opportunity": "name",
    "task": "subject",
}
"""The objects in which there are records, and the field that names a record."""

IDENTITIES = frozenset({"user", "user_name", "api_key"})
_OWN = frozenset({"own_account", "own_contact"})
_OF_ONE_TENANT = frozenset({"field", "kind"})

_numbers = itertools.count(100_000)
_CURSOR_CHECK_BYTES, _CURSOR_DIGEST_BYTES = 6, 8


ADMINISTRATOR = uuid7()
"""The id of a user in every tenant: who they are alone must not tell whose data they see."""


class Tenant(NamedTuple):
    """A tenant with a client of its administrator, by an API key."""

    id: str
    http: httpx.AsyncClient


async def found_tenant(env: dict[str, str], isolation: str) -> Tenant:
    """A new tenant with an id that nobody could guess."""
    id = f"t{secrets.token_hex(8)}"
    async with client(env) as operator:
        await _done(operator.post("/api/admin/tenants", json={"id": id, "isolation": isolation}))
    async with administrator(env, id) as first:
        given = {"id": ADMINISTRATOR, "name": "administrator", "service": True, "roles": ["admin"]}
        await _done(first.post("/api/auth/users", json=given))
        given = {"name": "administrator", "user": ADMINISTRATOR}
        made = await _done(first.post("/api/auth/keys", json=given))
    return Tenant(id, client(env, token=made.json()["key"]))


async def declare(env: dict[str, str], tenant: Tenant, field: str, object: str) -> None:
    """Give accounts of `tenant` a `field` of its own, and the tenant an `object`."""
    async with client(env) as operator:
        for name, own in (("account", field), (object, "title")):
            path = f"/api/admin/tenants/{tenant.id}/metadata/object/{name}"
            document = {"fields": {own: {"type": "text", "index": True}}}
            await _done(operator.put(path, json=document))


class Victim:
    """The tenant whose data must stay unseen: `secret` is in each of its records and keys."""

    def __init__(self, tenant: Tenant, env: dict[str, str]) -> None:
        self.tenant = tenant
        self._env = env
        self._own: tuple[str, str] | None = None
        self.secret = f"s3cret{secrets.token_hex(12)}"

    async def fresh(self, attacker: Tenant, ask: Ask) -> tuple[Known, Known]:
        """What `ask` is to be asked about: what is this tenant's, and what is not there.

        `own_account` and so on are records of the `attacker`.
        """
        names = placeholders(ask)
        number = next(_numbers)
        known, absent = _names(number), _names(number)
        known["tenant"], absent["tenant"] = self.tenant.id, f"t{secrets.token_hex(8)}"
        if not names.isdisjoint(_OF_ONE_TENANT):
            known["field"], known["kind"] = await self._declared(attacker)
            absent["field"], absent["kind"] = _own_name(), _own_name()
        await self._records(known)
        if not IDENTITIES.isdisjoint(names):
            await self._identities(known)
            end = "1" if known["api_key"][-1] == "0" else "0"  # no other key lies between
            absent["api_key"] = known["api_key"][:-1] + end
        if "webhook" in names:
            await self._webhook(known)
        if "cursor" in names:
            known["cursor"] = await self._cursor(known)
            absent["cursor"] = _cursor_after(known["cursor"], absent["account_name"])
        twins = {"account", "contact", "task"} if ask.has_twin else set[str]()
        own = [_own(name, some) for some in (known, absent) for name in (names & _OWN) | twins]
        if own:
            await _done(attacker.http.post("/api/batch", json={"operations": own}))
        return known, absent

    async def state(self, known: Known) -> list[str]:
        """All that an attempt could have changed."""
        paths = [f"/api/account/{known['account']}?expand=contact,opportunity,task"]
        if "api_key" in known:
            paths += [f"/api/auth/users/{known['user']}", "/api/auth/keys"]
        if "webhook" in known:
            paths.append("/api/admin/webhooks")
        answers = [await self.tenant.http.get(path) for path in paths]
        return [answer.text for answer in answers]

    async def _declared(self, attacker: Tenant) -> tuple[str, str]:
        """The field and the object that this tenant alone has; the attacker has others."""
        if self._own is None:
            self._own = _own_name(), _own_name()
            await declare(self._env, self.tenant, *self._own)
            await declare(self._env, attacker, "abcdefg__c", "hijklmn__c")
        return self._own

    async def _records(self, known: dict[str, str]) -> None:
        http, secret = self.tenant.http, self.secret
        account = {"id": known["account"], "name": known["account_name"]}
        if "field" in known:
            account[known["field"]] = known["account_name"]
        headers = {"Idempotency-Key": known["key"]}
        await _done(http.post("/api/account", json=account, headers=headers))
        contact = {
            "id": known["contact"],
            "last_name": known["contact_name"],
            "email": known["email"],
            "first_name": secret,
            "account": known["account"],
        }
        opportunity = {
            "id": known["opportunity"],
            "name": known["opportunity_name"],
            "account": known["account"],
            "contact": known["contact"],
            "stage": "qualification",
            "amount": 1000,
            "close_date": "2027-01-01",
            "next_step": secret,
        }
        task = {
            "id": known["task"],
            "subject": known["task_name"],
            "account": known["account"],
            "opportunity": known["opportunity"],
            "description": secret,
        }
        steps = [
            _step("account", "update", {"website": f"https://{secret}.example"}, known["account"]),
            _step("contact", "create", contact),
            _step("opportunity", "create", opportunity),
            _step("opportunity", "update", {"stage": "proposal"}, known["opportunity"]),
            _step("task", "create", task),
            _step("account", "create", {"name": f"{known['account_name']}-following"}),
        ]
        if "kind" in known:
            title = f"{known['account_name']} {secret}"
            steps.append(_step(known["kind"], "create", {"title": title}))
        batch = {"Idempotency-Key": known["batch_key"]}
        answer = await _done(http.post("/api/batch", json={"operations": steps}, headers=batch))
        known["transaction"] = answer.json()["transaction"]["id"]

    async def _cursor(self, known: Known) -> str:
        """Where the page of accounts ends whose last one is ours."""
        query = {"orderby": "name", "top": "1", "filter": f"name ge '{known['prefix']}'"}
        answer = await _done(self.tenant.http.get("/api/account", params=query))
        return answer.json()["meta"]["next"]

    async def _identities(self, known: dict[str, str]) -> None:
        given = {"name": known["user_name"], "service": True, "id": known["user"]}
        await _done(self.tenant.http.post("/api/auth/users", json=given))
        given = {"name": self.secret, "user": known["user"]}
        made = await _done(self.tenant.http.post("/api/auth/keys", json=given))
        known["api_key"] = made.json()["id"]

    async def _webhook(self, known: dict[str, str]) -> None:
        """One alone, switched off: a tenant may have only so many."""
        http = self.tenant.http
        for old in (await http.get("/api/admin/webhooks")).json()["items"]:
            await _done(http.delete(f"/api/admin/webhooks/{old['name']}"))
        given = {
            "name": known["webhook"],
            "url": "http://127.0.0.1:9/",
            "objects": ["account"],
            "where": {"website": self.secret},
            "run_as": {"roles": ["admin"]},
            "active": False,
        }
        await _done(http.post("/api/admin/webhooks", json=given))


def _own_name() -> str:
    """What no other tenant calls a field or an object of its own, and nothing else resembles:
    who errs is told of names that do.
    """
    return f"x{secrets.randbelow(10**20):020}__c"


def _own(name: str, known: Known) -> dict[str, Any]:
    object = name.removeprefix("own_")
    return _step(object, "create", {"id": known[name], LABELS[object]: known[name]})


def _names(number: int) -> dict[str, str]:
    """Names and ids that nobody has yet.

    Those with the same number come after all with a lower one in every order, and no record's name
    lies between two of them; so a page that begins after one of them is as long as after another.
    """
    names = {object: uuid7() for object in LABELS}
    names |= {f"{object}_name": f"z{number}{secrets.token_hex(8)}" for object in LABELS}
    names |= {name: uuid7() for name in _OWN}
    names |= {name: uuid7() for name in ("key", "batch_key", "transaction", "user", "session")}
    return names | {
        "email": f"z{number}{secrets.token_hex(8)}@b.example",
        "user_name": f"z{number}{secrets.token_hex(8)}",
        "prefix": f"z{number}",
        "webhook": f"z{number}{secrets.token_hex(8)}",
    }


def of(object: str, known: Known) -> Known:
    """`known` with one object as the one that is asked for."""
    return {
        **known,
        "object": object,
        "label": LABELS[object],
        "id": known[object],
        "name": known[f"{object}_name"],
    }


def _cursor_after(cursor: str, name: str) -> str:
    raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[_CURSOR_CHECK_BYTES:]
    digest, keys = raw[:_CURSOR_DIGEST_BYTES], json.loads(raw[_CURSOR_DIGEST_BYTES:])
    return encode_cursor(digest.hex(), json.dumps([name, uuid7(), *keys[2:]]).encode())


def _step(
    object: str, action: str, data: Mapping[str, Any], id: str | None = None
) -> dict[str, Any]:
    return {"object": object, "action": action, "data": data, "id": id}


async def _done(asked: Any) -> httpx.Response:
    answer: httpx.Response = await asked
    assert answer.is_success, answer.text
    return answer
