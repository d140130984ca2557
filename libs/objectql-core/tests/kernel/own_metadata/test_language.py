"""Fields and objects that single tenants have of their own, on every driver."""

from __future__ import annotations

import json
from typing import Any

import pytest

from objectql.context import SYSTEM_ROLE
from objectql.drivers.protocol import Driver
from objectql.drivers.security_log import SecurityFilter
from objectql.errors import (
    FieldUnknown,
    MetadataInvalid,
    MetadataNotFound,
    ObjectUnknown,
    PermissionDenied,
    UniqueViolation,
    ValidationFailed,
    VersionConflict,
)
from objectql.ids import FieldName
from objectql.kernel.kernel import Kernel
from objectql.kernel.tenancy import own_metadata
from objectql.wire.messages import MetaGetRequest, MetaListRequest, PermissionsRequest
from objectql.wire.tenants import (
    TenantDeleteRequest,
    TenantExportRequest,
    TenantMetadataDeleteRequest,
    TenantMetadataPutRequest,
    TenantMetadataRequest,
)

from .conftest import (
    ACME,
    GLOBEX,
    OPERATOR,
    PLAIN,
    by,
    described,
    fields,
    give,
    names,
    of,
    problems,
    purge,
    take,
)

# --- fields ---------------------------------------------------------------------------------------


async def test_a_field_of_one_tenant_is_written_read_filtered_sorted_and_grouped(
    kernel: Kernel,
) -> None:
    await fields(kernel, ACME, size__c={"type": "number", "scale": 0, "index": True})
    for name, size in (("a", 3), ("b", 1), ("c", 2), ("d", None)):
        data = {"name": name} if size is None else {"name": name, "size__c": size}
        created = await kernel.create("account", data, context=of(ACME))
        assert created["size__c"] == size
    assert await names(kernel, ACME, {"where": {"size__c": {"$gte": 2}}, "orderBy": "name"}) == [
        "a",
        "c",
    ]
    assert await names(kernel, ACME, {"orderBy": "size__c"}) == ["b", "c", "a", "d"]
    assert await names(kernel, ACME, {"where": {"size__c": None}}) == ["d"]
    grouped = {"aggregations": [{"function": "sum", "field": "size__c", "alias": "all"}]}
    assert await kernel.aggregate("account", grouped, context=of(ACME)) == [{"all": 6}]
    found = await kernel.find("account", {"where": {"name": "a"}}, context=of(ACME))
    id_ = found.value[0]["id"]
    changed = await kernel.update("account", id_, {"size__c": 9}, context=of(ACME))
    assert (changed["size__c"], changed["version"]) == (9, 2)


async def test_the_same_name_is_another_field_in_another_tenant(kernel: Kernel) -> None:
    await fields(kernel, ACME, extra__c={"type": "number", "scale": 0})
    await fields(kernel, GLOBEX, extra__c="text")
    await kernel.create("account", {"name": "a", "extra__c": 7}, context=of(ACME))
    await kernel.create("account", {"name": "g", "extra__c": "seven"}, context=of(GLOBEX))
    assert await names(kernel, ACME, {"where": {"extra__c": 7}}) == ["a"]
    assert await names(kernel, GLOBEX, {"where": {"extra__c": "seven"}}) == ["g"]
    with pytest.raises(ValidationFailed):
        await kernel.create("account", {"name": "x", "extra__c": "seven"}, context=of(ACME))


async def test_a_field_of_another_tenant_is_answered_like_one_that_nobody_has(
    kernel: Kernel,
) -> None:
    await fields(kernel, ACME, secret__c="text")

    async def refusal(name: str) -> str:
        with pytest.raises(FieldUnknown) as caught:
            await kernel.find("account", {"where": {name: "x"}}, context=of(GLOBEX))
        return str(caught.value).replace(name, "?")

    assert await refusal("secret__c") == await refusal("absent__c")
    data = {"name": "g", "secret__c": "x"}
    with pytest.raises(ValidationFailed):
        await kernel.create("account", data, context=of(GLOBEX))
    created = await kernel.create("account", {"name": "g"}, context=of(GLOBEX))
    assert "secret__c" not in created


async def test_unique_fields_of_tenants_hold_for_each_tenant_alone(kernel: Kernel) -> None:
    await fields(kernel, ACME, tag__c={"type": "text", "unique": True})
    await fields(kernel, GLOBEX, mark__c={"type": "text", "unique": True}, tag__c="text")
    await kernel.create("account", {"name": "a", "tag__c": "x"}, context=of(ACME))
    with pytest.raises(UniqueViolation) as caught:
        await kernel.create("account", {"name": "b", "tag__c": "x"}, context=of(ACME))
    assert caught.value.fields == ("tag__c",)
    for name in ("g", "h"):
        await kernel.create("account", {"name": name, "tag__c": "x"}, context=of(GLOBEX))
    await kernel.create("account", {"name": "i", "mark__c": "x"}, context=of(GLOBEX))
    with pytest.raises(UniqueViolation) as caught:
        await kernel.create("account", {"name": "j", "mark__c": "x"}, context=of(GLOBEX))
    assert caught.value.fields == ("mark__c",)


async def test_values_of_a_field_taken_back_are_unseen_and_come_back_with_it(
    kernel: Kernel,
) -> None:
    await fields(kernel, ACME, note__c="text", other__c="text")
    await kernel.create("account", {"name": "a", "note__c": "old"}, context=of(ACME))
    await fields(kernel, ACME, other__c="text")
    with pytest.raises(FieldUnknown):
        await names(kernel, ACME, {"where": {"note__c": "old"}})
    assert [(r["object"], r["field"]) for r in (await described(kernel, ACME))["retired"]] == [
        ("account", "note__c")
    ]
    await fields(kernel, ACME, other__c="text", third__c="text")
    assert await names(kernel, ACME, {"where": {"third__c": None}}) == ["a"]
    await fields(kernel, ACME, note__c={"type": "number", "scale": 0}, other__c="text")
    assert await names(kernel, ACME, {"where": {"note__c": None}}) == ["a"]
    await fields(kernel, ACME, note__c="text", other__c="text")
    assert await names(kernel, ACME, {"where": {"note__c": "old"}}) == ["a"]


async def test_a_purge_takes_what_has_been_retired_for_long_enough_and_nothing_else(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fields(kernel, ACME, note__c="text", kept__c="text")
    await fields(kernel, GLOBEX, note__c="text")
    data = {"name": "a", "note__c": "n", "kept__c": "k"}
    await kernel.create("account", data, context=of(ACME))
    await kernel.create("account", {"name": "g", "note__c": "n"}, context=of(GLOBEX))
    await fields(kernel, ACME, kept__c="text")
    assert await purge(kernel, ACME) == []
    monkeypatch.setattr(own_metadata, "PURGE_AFTER_MS", -1)
    assert await purge(kernel, ACME) == ["account.note__c"]
    assert (await described(kernel, ACME))["retired"] == []
    await fields(kernel, ACME, note__c="text", kept__c="text")
    assert await names(kernel, ACME, {"where": {"note__c": None, "kept__c": "k"}}) == ["a"]
    assert await names(kernel, GLOBEX, {"where": {"note__c": "n"}}) == ["g"]


async def test_a_lookup_of_a_tenant_is_followed_expanded_and_guarded(kernel: Kernel) -> None:
    await fields(kernel, ACME, parent__c={"type": "lookup", "reference": "account"})
    head = await kernel.create("account", {"name": "head"}, context=of(ACME))
    data = {"name": "branch", "parent__c": head["id"]}
    await kernel.create("account", data, context=of(ACME))
    assert await names(kernel, ACME, {"where": {"parent__c.name": "head"}}) == ["branch"]
    query = {"where": {"name": "branch"}, "expand": {"parent__c": {"fields": ["name"]}}}
    found = await kernel.find("account", query, context=of(ACME))
    assert found.value[0]["parent__c"]["name"] == "head"
    assert await kernel.delete("account", head["id"], context=of(ACME))
    assert await names(kernel, ACME, {"where": {"parent__c": None}}) == ["branch"]


# --- objects --------------------------------------------------------------------------------------

PARCEL: dict[str, Any] = {
    "fields": {
        "title": {"type": "text", "required": True, "unique": True},
        "weight": {"type": "number", "scale": 1},
        "account": {"type": "lookup", "reference": "account"},
    },
    "enable": {"trackHistory": True},
}


async def test_an_object_of_one_tenant_is_used_like_any_other(kernel: Kernel) -> None:
    await give(kernel, ACME, "parcel__c", PARCEL)
    await give(kernel, GLOBEX, "parcel__c", {"fields": {"title": {"type": "number"}}})
    account = await kernel.create("account", {"name": "a"}, context=of(ACME))
    data = {"title": "p", "weight": 2.5, "account": account["id"]}
    parcel = await kernel.create("parcel__c", data, context=of(ACME))
    await kernel.create("parcel__c", {"title": 3}, context=of(GLOBEX))
    query = {"where": {"account.name": "a"}, "expand": {"account": {"fields": ["name"]}}}
    found = await kernel.find("parcel__c", query, context=of(ACME))
    assert [(r["title"], r["account"]["name"]) for r in found.value] == [("p", "a")]
    with pytest.raises(UniqueViolation) as caught:
        await kernel.create("parcel__c", {"title": "p"}, context=of(ACME))
    assert (caught.value.object, caught.value.fields) == ("parcel__c", ("title",))
    wrong = {"title": "q", "account": "absent"}
    with pytest.raises(ValidationFailed) as refused:
        await kernel.create("parcel__c", wrong, context=of(ACME))
    assert [issue.path for issue in refused.value.issues] == ["account"]
    assert await kernel.delete("parcel__c", parcel["id"], context=of(ACME))


async def test_an_object_of_another_tenant_does_not_exist(kernel: Kernel) -> None:
    await give(kernel, ACME, "parcel__c", PARCEL)
    with pytest.raises(ObjectUnknown):
        await kernel.find("parcel__c", {}, context=of(GLOBEX))
    with pytest.raises(ObjectUnknown):
        await kernel.create("parcel__c", {"title": "p"}, context=of(PLAIN))
    reply = await kernel.handle_meta_get(MetaGetRequest("object", "parcel__c"), of(GLOBEX))
    assert not reply.found


async def test_an_object_of_a_tenant_is_denied_until_the_tenant_permits_it(kernel: Kernel) -> None:
    await give(kernel, ACME, "parcel__c", PARCEL)
    with pytest.raises(PermissionDenied):
        await kernel.find("parcel__c", {}, context=of(ACME, "sales"))
    grants = {"object_permissions": {"read": ["sales"]}}
    await give(kernel, ACME, "parcel__c", grants, "permission")
    assert (await kernel.find("parcel__c", {}, context=of(ACME, "sales"))).value == []
    with pytest.raises(PermissionDenied):
        await kernel.create("parcel__c", {"title": "p"}, context=of(ACME, "sales"))
    assert (await kernel.find("account", {}, context=of(ACME, "sales"))).value == []


async def test_records_of_an_object_taken_back_wait_for_it_until_the_purge(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    await give(kernel, ACME, "parcel__c", PARCEL)
    await kernel.create("parcel__c", {"title": "p"}, context=of(ACME))
    await take(kernel, ACME, "parcel__c")
    with pytest.raises(ObjectUnknown):
        await kernel.find("parcel__c", {}, context=of(ACME))
    await give(kernel, ACME, "parcel__c", PARCEL)
    assert await kernel.count("parcel__c", context=of(ACME)) == 1
    await take(kernel, ACME, "parcel__c")
    monkeypatch.setattr(own_metadata, "PURGE_AFTER_MS", -1)
    assert len(await purge(kernel, ACME)) == 3
    await give(kernel, ACME, "parcel__c", PARCEL)
    assert await kernel.count("parcel__c", context=of(ACME)) == 0


# --- what a tenant sees ---------------------------------------------------------------------------


async def test_metadata_permissions_and_exports_show_the_tenant_its_own(kernel: Kernel) -> None:
    await give(kernel, ACME, "parcel__c", PARCEL)
    await fields(kernel, ACME, size__c="number")
    reply = await kernel.handle_meta_get(MetaGetRequest("object", "account"), of(ACME))
    assert "size__c" in json.loads(reply.body)["fields"]
    assert "column" not in json.loads(reply.body)["fields"]["size__c"]
    reply = await kernel.handle_meta_get(MetaGetRequest("object", "account"), of(PLAIN))
    assert "size__c" not in json.loads(reply.body)["fields"]
    reply = await kernel.handle_meta_list(MetaListRequest("object"), of(ACME))
    assert "parcel__c" in [document["name"] for document in json.loads(reply.body)]
    reply = await kernel.handle_permissions(PermissionsRequest(), of(ACME))
    assert b"parcel__c" in reply.body
    await kernel.create("parcel__c", {"title": "p"}, context=of(ACME))
    page = await kernel.tenancy.handle_export(TenantExportRequest(ACME, "parcel__c"), by(OPERATOR))
    assert json.loads(page.lines)["record"]["title"] == "p"


async def test_a_tenant_without_metadata_of_its_own_shares_the_model_of_all(
    kernel: Kernel,
) -> None:
    await fields(kernel, ACME, size__c="number")
    engine = kernel.engine
    assert engine.model_of(PLAIN) is engine.model
    own = engine.model_of(ACME)
    assert own is not engine.model
    assert own.object("contact") is engine.model.object("contact")
    assert own.validator(own.object("contact")) is engine.model.validator(own.object("contact"))


async def test_what_is_published_for_all_reaches_tenants_with_their_own(kernel: Kernel) -> None:
    await fields(kernel, ACME, size__c="text")
    await kernel.create("account", {"name": "a", "size__c": "s"}, context=of(ACME))
    document = {"fields": {"city": {"type": "text"}}}
    await kernel.publisher.put("object", "account", document)
    created = await kernel.create("account", {"name": "b", "city": "x"}, context=of(ACME))
    assert (created["city"], created["size__c"]) == ("x", None)
    assert await names(kernel, ACME, {"where": {"size__c": "s"}}) == ["a"]


async def test_documents_that_no_longer_fit_sleep_until_they_do(kernel: Kernel) -> None:
    project = {"fields": {"name": {"type": "text"}}}
    await kernel.publisher.put("object", "project", project)
    await give(kernel, ACME, "project", {"fields": {"size__c": {"type": "text"}}})
    await fields(kernel, ACME, link__c={"type": "lookup", "reference": "project"})
    await kernel.create("project", {"name": "p", "size__c": "s"}, context=of(ACME))
    await kernel.publisher.delete("object", "project")
    with pytest.raises(ObjectUnknown):
        await kernel.find("project", {}, context=of(ACME))
    asleep = (await described(kernel, ACME))["asleep"]
    assert {issue["code"] for issue in asleep} == {"unknown_object", "unknown_reference"}
    await fields(kernel, ACME, other__c="text")
    awake = kernel.engine.model_of(ACME).object("account").fields[FieldName("other__c")]
    assert awake.column == "text_1__c"
    await kernel.publisher.put("object", "project", project)
    found = await kernel.find("project", {}, context=of(ACME))
    assert [row["size__c"] for row in found.value] == ["s"]


async def test_another_kernel_follows(kernel: Kernel, driver: Driver) -> None:
    other = Kernel([driver], settings=kernel.engine.settings)
    await other.publisher.converge()
    await other.tenants.converge()
    await fields(kernel, ACME, size__c="text")
    assert "size__c" not in other.engine.model_of(ACME).object("account").fields
    await other.tenants.converge()
    assert "size__c" in other.engine.model_of(ACME).object("account").fields


async def test_a_deleted_tenant_leaves_nothing_of_its_own(kernel: Kernel) -> None:
    await give(kernel, ACME, "parcel__c", PARCEL)
    await fields(kernel, ACME, size__c="text")
    account = await kernel.create("account", {"name": "a", "size__c": "s"}, context=of(ACME))
    data = {"title": "p", "account": account["id"]}
    await kernel.create("parcel__c", data, context=of(ACME))
    await kernel.tenancy.handle_delete(TenantDeleteRequest(ACME, ACME), by(OPERATOR))
    await kernel.tenancy.admin.finish_deletions()
    assert await kernel.count("account", context=of(PLAIN)) == 0


# --- what is refused ------------------------------------------------------------------------------


async def test_every_problem_is_told_at_once_with_its_path(kernel: Kernel) -> None:
    found = await problems(
        kernel,
        "account",
        {
            "label": "Other",
            "enable": {"trash": True},
            "fields": {
                "name": {"type": "number"},
                "plain": {"type": "text"},
                "odd__c": {"type": "colour"},
                "total__c": {"type": "autonumber", "format": "{0}"},
                "boss__c": {
                    "type": "lookup", "reference": "nobody", "deleteBehavior": "cascade",
                },
            },
        },
    )  # fmt: skip
    assert found == {
        "label: not_for_tenants",
        "enable: not_for_tenants",
        "fields.name: not_a_tenants_name",
        "fields.plain: not_a_tenants_name",
        "fields.odd__c.type: unknown_field_type",
        "fields.total__c.type: not_for_tenants",
        "fields.boss__c.deleteBehavior: not_for_tenants",
        "fields.boss__c.reference: unknown_reference",
    }


@pytest.mark.parametrize("key", ["table", "datasource", "actions", "hooks", "isSystem"])
async def test_an_object_of_a_tenant_says_nothing_of_places_or_code(
    kernel: Kernel, key: str
) -> None:
    document: dict[str, Any] = {"fields": {"title": {"type": "text"}}, key: {"x": {}}}
    assert f"{key}: not_for_tenants" in await problems(kernel, "parcel__c", document)


async def test_permissions_on_what_is_published_are_not_a_tenants_to_give(kernel: Kernel) -> None:
    document = {"object_permissions": {"delete": ["sales"]}}
    assert await problems(kernel, "account", document, "permission") == {": not_for_tenants"}
    assert await problems(kernel, "hole", {}, "hook") == {": not_for_tenants"}
    assert await problems(kernel, "plain", {"fields": {"a": {}}}) == {": unknown_object"}


async def test_published_names_never_end_like_those_of_tenants(kernel: Kernel) -> None:
    with pytest.raises(MetadataInvalid) as caught:
        await kernel.publisher.put("object", "thing__c", {"fields": {"a__c": {"type": "text"}}})
    assert {issue.code for issue in caught.value.issues} == {"reserved_for_tenants"}


async def test_only_operators_administer_and_versions_are_heeded(kernel: Kernel) -> None:
    version = await fields(kernel, ACME, size__c="text")
    log = kernel.engine.system_driver.security_log
    ((_, entry),) = await log.page(OPERATOR.tenant, SecurityFilter("metadata_published"), limit=1)
    assert (entry.actor, entry.details["of"]) == (OPERATOR.id, ACME)
    request = TenantMetadataPutRequest(ACME, "object", "account", b"{}")
    for context in (of(ACME), of(ACME, SYSTEM_ROLE)):
        with pytest.raises(PermissionDenied):
            await kernel.tenancy.handle_metadata_put(request, context)
    stale = TenantMetadataDeleteRequest(ACME, "object", "account", if_version=version - 1)
    with pytest.raises(VersionConflict):
        await kernel.tenancy.handle_metadata_delete(stale, by(OPERATOR))
    with pytest.raises(MetadataNotFound):
        await take(kernel, ACME, "contact")
    shown = TenantMetadataRequest(ACME, "object", "account")
    reply = await kernel.tenancy.handle_metadata(shown, by(OPERATOR))
    assert (json.loads(reply.body), reply.version) == (
        {"fields": {"size__c": {"type": "text"}}},
        version,
    )
