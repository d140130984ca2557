"""Attempts to read what is another tenant's, in the words that several routes understand."""

from __future__ import annotations

from typing import Any

from tests.security.cross_tenant.asking import Ask
from tests.security.cross_tenant.victim import LABELS

EVERY = tuple(LABELS)

CONTACT, _OPPORTUNITY = ("contact",), ("opportunity",)


def _list(of: tuple[str, ...] = ("account",), owner: Any = "sees", **words: str) -> Ask:
    """A question in the parameters of a URL; all surfaces understand the same words."""
    return Ask(query=words, of=of, owner=owner)


LISTS = (
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
    _list(filter="account.name eq '<account_name>'", of=CONTACT),
    _list(filter="account eq '<account>'", of=CONTACT),
    _list(filter="last_name ge '<prefix>'", orderby="account.name desc", of=CONTACT),
    _list(filter="contact.account.name eq '<account_name>'", of=_OPPORTUNITY),
    _list(filter="id eq '<id>'", expand="account", of=CONTACT),
    _list(filter="id eq '<id>'", expand="contact"),
    _list(filter="id eq '<own_contact>'", expand="account", of=CONTACT, owner="may"),
    _list(filter="name ge '<prefix>'", orderby="name", top="1", after="<cursor>", owner="may"),
    _list(filter="id eq '<id>'", groupBy="name", aggregations="count as n,max(website) as w"),
    _list(groupBy="account.website", aggregations="count as n", of=CONTACT),
    _list(groupBy="name,website", aggregations="count as n", having="n ge 1"),
    _list(distinct="true", select="name,website", orderby="name desc"),
)
EXPLAINED = (
    _list(filter="id eq '<id>'", explain="true", owner="may"),
    _list(filter="name eq '<account_name>'", explain="analyze", owner="may not"),
)

DOCUMENTS = (
    Ask({"where": {"id": "<id>"}}, of=EVERY),
    Ask({"where": {"<label>": {"$in": ["<name>", "x"]}}, "count": True}, of=EVERY),
    Ask({"where": {"$or": [{"id": "<id>"}, {"$not": {"<label>": "x"}}]}, "limit": 1000}, of=EVERY),
    Ask({"where": {"<label>": {"$like": "<prefix>%"}}, "orderBy": "-<label>"}, of=EVERY),
    Ask(
        {"where": {"account.name": "<account_name>"}, "fields": ["first_name", "account.website"]},
        of=CONTACT,
    ),
    Ask({"where": {"id": "<id>"}, "expand": {"account": {"expand": {"contact": {}}}}}, of=CONTACT),
    Ask(
        {
            "where": {"id": "<id>"},
            "expand": {"contact": {"count": True}, "opportunity": {}, "task": {}},
        },
    ),
    Ask({"search": "<name>", "searchMode": "words"}),
)

GROUPS = (
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
        of=CONTACT,
    ),
    Ask(
        {"aggregations": ["count as n", "sum(amount) as s"], "where": {"id": "<id>"}},
        of=("opportunity",),
        owner="may",
    ),
)

GETS = (
    Ask(has_twin=True),
    Ask(has_twin=True, query={"expand": "contact,opportunity,task"}),
    Ask(of=EVERY),
    Ask(query={"$expand": "account"}, of=("contact", "opportunity", "task")),
    Ask(query={"$expand": "contact,opportunity,task"}),
    Ask(query={"$select": "website"}),
    Ask(headers={"Oql-Read-Policy": "primary"}, of=EVERY),
)
