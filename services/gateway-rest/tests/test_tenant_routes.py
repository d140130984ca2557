"""Tenant administration over HTTP: translation only."""

from __future__ import annotations

import json
from typing import Any

from objectql.errors import PermissionDenied, TenantExists, Unavailable
from objectql.wire import tenants as t

PATH = "/api/admin/tenants"


async def test_each_operation_is_one_request_to_the_kernel(client: Any, kernel: Any) -> None:
    created = await client.post(PATH, json={"id": "acme"})
    assert (created.status_code, created.json()) == (201, {"id": "acme"})
    assert kernel.last[:2] == ("tenant_create", t.TenantCreateRequest(b'{"id":"acme"}'))
    assert (await client.get(PATH)).json() == {"items": [{"id": "acme"}]}
    assert kernel.last[:2] == ("tenant_list", t.TenantListRequest())
    await client.get(PATH, params={"after": "a", "limit": "7"})
    assert kernel.last[1] == t.TenantListRequest("a", 7)
    assert (await client.get(f"{PATH}/acme")).json() == {"id": "acme"}
    assert (await client.get(f"{PATH}/acme/usage")).json() == {"id": "acme", "records": 3}
    assert kernel.last[1] == t.TenantUsageRequest("acme")
    changed = await client.patch(f"{PATH}/acme", json={"suspended": True})
    assert changed.json()["suspended"] is True
    assert kernel.last[1] == t.TenantChangeRequest("acme", b'{"suspended":true}')
    gone = await client.delete(f"{PATH}/acme", params={"confirm": "acme"})
    assert (gone.status_code, gone.content) == (204, b"")
    assert kernel.last[1] == t.TenantDeleteRequest("acme", "acme")


async def test_refusals_come_through(client: Any, kernel: Any) -> None:
    kernel.answers["tenant_create"] = TenantExists(id="acme")
    assert (await client.post(PATH, json={"id": "acme"})).status_code == 409
    kernel.answers["tenant_list"] = PermissionDenied(operation="administer", object="tenants")
    assert (await client.get(PATH)).status_code == 403


async def test_parameters_without_meaning_are_refused(client: Any) -> None:
    assert (await client.get(PATH, params={"limit": "many"})).status_code == 400
    assert (await client.get(PATH, params={"top": "1"})).status_code == 400
    assert (await client.delete(f"{PATH}/acme", params={"force": "1"})).status_code == 400


async def test_export_is_sent_page_by_page(client: Any, kernel: Any) -> None:
    pages: dict[tuple[str | None, str | None], t.TenantExportReply] = {
        (None, None): t.TenantExportReply(b'{"tenant":{"id":"acme"}}\n', "task"),
        ("task", None): t.TenantExportReply(
            b'{"object":"task","record":{"id":"1"}}\n', "task", "c"
        ),
        ("task", "c"): t.TenantExportReply(b'{"object":"task","record":{"id":"2"}}\n'),
    }

    async def page(request: t.TenantExportRequest, _context: Any) -> t.TenantExportReply:
        return pages[request.object, request.after]

    kernel.slow["tenant_export"] = page
    answer = await client.get(f"{PATH}/acme/export")
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line.get("record", {}).get("id") for line in lines] == [None, "1", "2"]
    assert (await client.head(f"{PATH}/acme/export")).content == b""


async def test_export_that_cannot_begin_is_an_ordinary_error(client: Any, kernel: Any) -> None:
    kernel.answers["tenant_export"] = Unavailable(what="x")
    assert (await client.get(f"{PATH}/acme/export")).status_code == 503


async def test_metadata_of_a_tenant_is_told_published_and_taken_back(
    client: Any, kernel: Any
) -> None:
    path = f"{PATH}/acme/metadata"
    assert (await client.get(path)).json() == {"fields": {}}
    assert kernel.last[1] == t.TenantMetadataRequest("acme")
    shown = await client.get(f"{path}/object/account")
    assert (shown.json(), shown.headers["etag"]) == ({"fields": {}}, '"4"')
    assert kernel.last[1] == t.TenantMetadataRequest("acme", "object", "account")
    again = await client.get(f"{path}/object/account", headers={"if-none-match": '"4"'})
    assert again.status_code == 304
    put = await client.put(
        f"{path}/object/account", json={"fields": {}}, headers={"if-match": '"4"'}
    )
    assert put.json() == {
        "type": "object",
        "name": "account",
        "version": 5,
        "changes": ["add column"],
    }
    request = t.TenantMetadataPutRequest("acme", "object", "account", b'{"fields":{}}', 4)
    assert kernel.last[:2] == ("tenant_metadata_put", request)
    gone = await client.delete(f"{path}/object/account")
    assert gone.json()["version"] == 6
    assert kernel.last[1] == t.TenantMetadataDeleteRequest("acme", "object", "account")
    assert (await client.post(f"{path}/purge")).json() == {"purged": []}
    assert kernel.last[1] == t.TenantPurgeRequest("acme")
