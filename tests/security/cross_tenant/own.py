"""What a tenant may try with the names of fields and objects that another has of its own."""

from __future__ import annotations

from tests.security.cross_tenant.asking import Ask

_KIND = {"object": "<kind>"}
_NAMED = {"type": "object", "name": "<kind>"}
_METADATA = {"id": "<tenant>", "type": "object", "name": "account"}
_FIELDS = {"fields": {"<field>": {"type": "text"}}}

OWN_NAMES: dict[str, tuple[Ask, ...]] = {
    "GET /api/{object}": (
        Ask(query={"filter": "<field> eq '<account_name>'"}),
        Ask(query={"filter": "<field> eq null", "orderby": "<field> desc"}, owner="may"),
        Ask(query={"select": "<field>"}, owner="may"),
        Ask(path=_KIND, owner="may"),
        Ask(path=_KIND, query={"filter": "contains(title,'<account_name>')"}),
    ),
    "POST /api/{object}": (
        Ask({"name": "x <account_name>", "<field>": "x"}, owner="may"),
        Ask({"title": "x"}, path=_KIND, owner="may"),
    ),
    "POST /api/{object}/query": (
        Ask({"where": {"<field>": "<account_name>"}}),
        Ask({"groupBy": ["<field>"]}, owner="may"),
    ),
    "PATCH /api/{object}/{id}": (Ask({"<field>": "taken over"}),),
    "GET /api/meta/{type}/{name}": (Ask(path=_NAMED, owner="may"),),
    "GET /api/v1/data/{object}": (Ask(query={"<field>": "<account_name>"}),),
    "GET /api/v1/meta/{type}/{name}": (Ask(path=_NAMED, owner="may"),),
    "GET /api/admin/tenants/{id}/metadata": (Ask(path={"id": "<tenant>"}, owner="may not"),),
    "POST /api/admin/tenants/{id}/metadata/purge": (
        Ask({}, path={"id": "<tenant>"}, owner="may not"),
    ),
    "GET /api/admin/tenants/{id}/metadata/{type}/{name}": (Ask(path=_METADATA, owner="may not"),),
    "PUT /api/admin/tenants/{id}/metadata/{type}/{name}": (
        Ask(_FIELDS, path=_METADATA, owner="may not"),
    ),
    "DELETE /api/admin/tenants/{id}/metadata/{type}/{name}": (
        Ask(path=_METADATA, owner="may not"),
    ),
}
