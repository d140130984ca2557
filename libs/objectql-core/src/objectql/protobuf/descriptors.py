"""Files as descriptors, as a compiler would make them of the text; for reflection.

Without comments and places: a caller who wants those takes the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from google.protobuf import (
    any_pb2,
    duration_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
)
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2, status_pb2
from google.type import date_pb2, decimal_pb2, timeofday_pb2

from objectql.protobuf.model import Enum, Field, Message, Method, ProtoFile, ranges

_FOREIGN_FILES: Final = tuple(
    each.DESCRIPTOR
    for each in (
        any_pb2,
        duration_pb2,
        field_mask_pb2,
        struct_pb2,
        timestamp_pb2,
        date_pb2,
        decimal_pb2,
        timeofday_pb2,
        status_pb2,
        error_details_pb2,
    )
)
"""Those that ours import, each after the ones that it imports itself, and what statuses hold."""

_SCALARS: Final = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "string": FieldDescriptorProto.TYPE_STRING,
}


def pool_of(files: Iterable[ProtoFile]) -> DescriptorPool:
    """A pool with `files` and all that they import."""
    pool = DescriptorPool()
    for known in _FOREIGN_FILES:
        pool.AddSerializedFile(known.serialized_pb)
    for file in files:
        pool.AddSerializedFile(descriptor_of(file).SerializeToString())
    return pool


def descriptor_of(file: ProtoFile) -> FileDescriptorProto:
    """What a compiler makes of the file's text."""
    descriptor = FileDescriptorProto(
        name=file.path,
        package=file.package,
        syntax="proto3",
        dependency=file.imports,
        message_type=[_message(each, file.package) for each in file.messages],
    )
    service = descriptor.service.add(name=file.service.name)
    service.method.extend(_method(each, file.package) for each in file.service.methods)
    return descriptor


def json_name(name: str) -> str:
    """The name of a field in the JSON of Protocol Buffers: `created_at` → `createdAt`."""
    return re.sub(r"_(.?)", lambda found: found[1].upper(), name)


def _method(method: Method, package: str) -> MethodDescriptorProto:
    return MethodDescriptorProto(
        name=method.name,
        input_type=f".{package}.{method.request}",
        output_type=f".{package}.{method.response}",
        client_streaming=method.takes_stream or None,
        server_streaming=method.is_stream or None,
    )


def _message(message: Message, package: str) -> DescriptorProto:
    descriptor = DescriptorProto(name=message.name)
    scope = f".{package}.{message.name}"
    enums = {each.name for each in message.enums}
    taken: set[str] = set()
    for field in message.fields:
        made = descriptor.field.add()
        made.CopyFrom(_field(field, package, scope, enums))
        if made.json_name in taken:  # `a1` and `a_1` are both `a1`, which no pool takes
            made.json_name = field.name
        taken.add(made.json_name)
        if field.is_optional:
            made.proto3_optional = True
            made.oneof_index = len(descriptor.oneof_decl)
            descriptor.oneof_decl.add(name=f"_{field.name}")
    descriptor.enum_type.extend(map(_enum, message.enums))
    for first, last in ranges(message.retired):
        descriptor.reserved_range.add(start=first, end=last + 1)
    return descriptor


def _field(field: Field, package: str, scope: str, enums: set[str]) -> FieldDescriptorProto:
    type = field.plain_type
    made = FieldDescriptorProto(
        name=field.name,
        number=field.number,
        label=FieldDescriptorProto.LABEL_REPEATED
        if field.is_repeated
        else FieldDescriptorProto.LABEL_OPTIONAL,
        json_name=json_name(field.name),
    )
    if type in _SCALARS:
        made.type = _SCALARS[type]
    elif type in enums:
        made.type = FieldDescriptorProto.TYPE_ENUM
        made.type_name = f"{scope}.{type}"
    else:
        made.type = FieldDescriptorProto.TYPE_MESSAGE
        made.type_name = f".{type}" if "." in type else f".{package}.{type}"
    return made


def _enum(enum: Enum) -> EnumDescriptorProto:
    descriptor = EnumDescriptorProto(name=enum.name)
    for value in enum.values:
        descriptor.value.add(name=value.name, number=value.number)
    for first, last in ranges(enum.retired):
        descriptor.reserved_range.add(start=first, end=last)
    return descriptor
