"""The description: valid by the rules of OpenAPI, complete, and true to what is answered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import jsonschema_rs
import msgspec
import pytest
import schemathesis

from objectql.ids import ObjectName
from objectql.metadata.model import ObjectPermissions
from objectql.metadata.overlay import TenantMetadata, own_document
from objectql.metadata.registry import MetadataSnapshot
from objectql.metadata.transfer import encode_own
from objectql.testing.samples import field, object_def
from objectql.wire.messages import SnapshotReply
from objectql_gateway_rest.openapi import describe, downgrade
from objectql_gateway_rest.openapi_routes import for_everybody

_METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


@pytest.fixture
async def document(client: Any) -> dict[str, Any]:
    return (await client.get("/openapi.json")).json()


@pytest.fixture
async def old(client: Any) -> dict[str, Any]:
    return (await client.get("/openapi-3.0.json")).json()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in _METHODS:
                yield path, method, operation


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        mapping = cast("dict[str, Any]", value)
        yield mapping
        for inner in mapping.values():
            yield from nodes(inner)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from nodes(inner)


def resolve(document: dict[str, Any], pointer: str) -> Any:
    found: Any = document
    for part in pointer.removeprefix("#/").split("/"):
        found = found[part]
    return found


@pytest.mark.parametrize("edition", ["document", "old"])
def test_every_reference_leads_somewhere(edition: str, request: Any) -> None:
    document = request.getfixturevalue(edition)
    pointers = [node["$ref"] for node in nodes(document) if isinstance(node.get("$ref"), str)]
    assert len(pointers) > 100
    for pointer in pointers:
        assert resolve(document, pointer) is not None


def test_operation_ids_are_unique_and_path_parameters_declared(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for path, _, operation in operations(document):
        shared = document["paths"][path].get("parameters", [])
        declared = [
            resolve(document, parameter["$ref"])
            for parameter in [*shared, *operation.get("parameters", [])]
        ]
        names = {p["name"] for p in declared if p["in"] == "path"}
        assert names == set(re.findall(r"{(\w+)}", path))


def test_every_operation_tells_every_refusal(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        codes = set(operation["responses"])
        assert {"400", "401", "404", "405", "412", "413", "500", "503"} <= codes, (path, method)
        assert codes & {"200", "201"}, (path, method)


def test_schemas_of_an_object_are_precise(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    task = schemas["Task"]["properties"]
    assert task["n"]["type"] == ["integer", "null"]
    assert task["due"] == {"type": ["string", "null"], "format": "date"}
    assert task["status"]["enum"] == ["open", "done", None]
    assert "secret" not in task
    assert {"$ref": "#/components/schemas/Project"} in task["project"]["anyOf"][0]["anyOf"]
    create = schemas["TaskCreate"]
    assert create["required"] == ["title"]
    assert create["additionalProperties"] is False
    assert create["properties"]["title"] == {"type": "string", "maxLength": 80}
    assert create["properties"]["secret"]["writeOnly"] is True
    assert not {"created_at", "version", "tenant_id"} & set(create["properties"])
    assert "required" not in schemas["TaskUpdate"]


def test_actions_are_described_with_their_parameters(document: dict[str, Any]) -> None:
    path = document["paths"]["/api/task/{id}/actions/close"]
    body = path["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["why"]
    assert "/api/task/actions/sweep" in document["paths"]


def test_the_old_edition_has_no_word_of_the_new_one(old: dict[str, Any]) -> None:
    assert old["openapi"] == "3.0.3"
    for node in nodes(old):
        assert not isinstance(node.get("type"), list), node
        assert node.get("type") != "null"
    assert old["components"]["schemas"]["Task"]["properties"]["n"]["nullable"] is True


async def test_the_description_is_made_once_per_version(client: Any) -> None:
    first = await client.get("/openapi.json")
    again = await client.get("/api/openapi.json")
    assert first.content == again.content
    headers = {"if-none-match": first.headers["etag"]}
    assert (await client.get("/openapi.json", headers=headers)).status_code == 304


async def test_the_description_is_of_what_the_callers_tenant_has(client: Any, kernel: Any) -> None:
    fields = {"fields": {"own__c": {"type": "text"}}}
    own = TenantMetadata(1, (own_document("object", "task", fields),))
    kernel.answers["tenant_snapshot"] = SnapshotReply(1, encode_own(own))
    shown = (await client.get("/openapi.json")).json()
    assert "own__c" in shown["components"]["schemas"]["Task"]["properties"]
    del client.headers["authorization"]
    public = await client.get("/openapi.json")
    assert "own__c" not in public.json()["components"]["schemas"]["Task"]["properties"]
    assert public.headers["vary"] == "Authorization, X-API-Key"
    refused = await client.get("/openapi.json", headers={"authorization": "Basic eDp5"})
    assert refused.status_code == 401


def test_lookups_to_hidden_objects_stay_resolvable(services: Any) -> None:
    snapshot = services.metadata.snapshot
    hidden = MetadataSnapshot(2, {ObjectName("task"): snapshot.object("task")})
    document = describe(hidden)
    assert document["components"]["schemas"]["Project"] == {"type": "object"}


@pytest.mark.parametrize("edition", ["document", "old"])
def test_schemathesis_can_generate_every_operation(edition: str, request: Any) -> None:
    schema: Any = schemathesis.openapi.from_dict(request.getfixturevalue(edition))
    found = [result.ok() for result in schema.get_all_operations()]
    assert len(found) == len(list(operations(request.getfixturevalue(edition))))


def test_schemas_are_json_schemas(document: dict[str, Any]) -> None:
    text = json.dumps(document).replace("#/components/schemas/", "#/$defs/")
    schemas = json.loads(text)["components"]["schemas"]
    for name in schemas:
        jsonschema_rs.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": schemas})


async def test_answers_agree_with_the_description(client: Any, document: Any) -> None:
    schema: Any = schemathesis.openapi.from_dict(document)
    sent = {
        ("/api/task", "GET"): await client.get("/api/task"),
        ("/api/task", "POST"): await client.post("/api/task", json={"title": "a"}),
        ("/api/task/{id}", "GET"): await client.get("/api/task/1"),
        ("/api/task/{id}/history", "GET"): await client.get("/api/task/1/history"),
        ("/api/task/{id}", "PATCH"): await client.patch("/api/task/1", json={"title": "a"}),
        ("/api/task/{id}", "DELETE"): await client.delete("/api/task/1"),
        ("/api/task/bulk", "POST"): await client.post(
            "/api/task/bulk", json={"operation": "create", "records": [{"title": "a"}]}
        ),
        ("/api/batch", "POST"): await client.post(
            "/api/batch",
            json={"operations": [{"object": "task", "action": "create"}] * 2},
        ),
    }
    for (path, method), answer in sent.items():
        assert answer.is_success, answer.text
        schema[path][method].validate_response(answer)


def test_downgrade_keeps_what_both_editions_share() -> None:
    assert downgrade({"type": "string", "enum": ["a"]}) == {"type": "string", "enum": ["a"]}
    assert downgrade({"anyOf": [{"type": "string"}, {"type": "null"}]}) == {
        "anyOf": [{"type": "string"}],
        "nullable": True,
    }


def test_the_public_description_tells_of_no_field_that_some_may_not_read() -> None:
    item = object_def("item", field("name", "text"), field("salary", "number"))
    rules = {"field_permissions": {"salary": {"read": ["boss"]}}}
    permission = ObjectPermissions(object=item.name, document=rules)
    snapshot = MetadataSnapshot(1, {item.name: item}, permissions={item.name: permission})
    text = json.dumps(describe(for_everybody(snapshot)))
    assert "name" in text
    assert "salary" not in text


def test_what_an_object_does_not_offer_is_not_described() -> None:
    item = object_def("item", field("name", "text"))
    enable = msgspec.structs.replace(item.enable, api_methods=("list", "create"))
    item = msgspec.structs.replace(item, enable=enable)
    paths = describe(MetadataSnapshot(1, {item.name: item}))["paths"]
    found = {path: set(said) for path, said in paths.items() if path.startswith("/api/item")}
    assert found == {
        "/api/item": {"get", "post"},
        "/api/item/query": {"post"},
        "/api/item/aggregate": {"post"},
    }
