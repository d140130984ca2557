"""Reflection: what callers find out about services, each what they may read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc import aio
from grpc_reflection.v1alpha import reflection_pb2 as pb

from objectql_gateway_grpc.reflection import SERVICES

ANN = (("authorization", "Bearer ann"),)


async def ask(gateway: Any, service: str, token: str | None = "ann", **request: Any) -> Any:
    method = gateway.client().channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=pb.ServerReflectionRequest.SerializeToString,
        response_deserializer=pb.ServerReflectionResponse.FromString,
    )
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    return await method(iter([pb.ServerReflectionRequest(**request)]), metadata=metadata).read()


@pytest.mark.parametrize("version", SERVICES)
async def test_services_are_listed_in_both_versions(gateway: Any, version: str) -> None:
    answer = await ask(gateway, version, list_services="")
    names = [each.name for each in answer.list_services_response.service]
    assert names == sorted(
        [
            *SERVICES,
            "grpc.health.v1.Health",
            "objectql.app.v1.NoteService",
            "objectql.v1.ObjectService",
        ]
    )
    for name in names:
        found = await ask(gateway, version, file_containing_symbol=name)
        assert found.file_descriptor_response.file_descriptor_proto, name


async def fields(gateway: Any, token: str) -> set[str]:
    symbol = "objectql.app.v1.Note"
    answer = await ask(gateway, SERVICES[0], token, file_containing_symbol=symbol)
    files = map(
        FileDescriptorProto.FromString, answer.file_descriptor_response.file_descriptor_proto
    )
    [file] = [each for each in files if each.package == "objectql.app.v1"]
    return {field.name for field in file.message_type[0].field}


async def test_fields_are_told_to_those_who_may_read_them(gateway: Any) -> None:
    assert await fields(gateway, "root") - await fields(gateway, "ann") == {"secret"}


async def test_new_objects_are_there_at_once(gateway: Any, published: Callable[..., Any]) -> None:
    gateway.metadata.snapshot = published("note", "memo", version=2)
    answer = await ask(gateway, SERVICES[0], list_services="")
    names = [each.name for each in answer.list_services_response.service]
    assert "objectql.app.v1.MemoService" in names


async def test_strangers_are_told_nothing(gateway: Any) -> None:
    with pytest.raises(aio.AioRpcError, match="UNAUTHENTICATED"):
        await ask(gateway, SERVICES[0], None, list_services="")


async def test_malformed_questions_are_invalid_arguments(gateway: Any) -> None:
    method = gateway.client().channel.stream_stream(f"/{SERVICES[0]}/ServerReflectionInfo")
    with pytest.raises(aio.AioRpcError, match="INVALID_ARGUMENT"):
        await method(iter([b"\xff\xff"]), metadata=ANN).read()
