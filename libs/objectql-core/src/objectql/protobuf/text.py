"""A `.proto` file as text, in the form that `buf format` gives it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain

from objectql.protobuf.model import Enum, Message, ProtoFile, Service, ranges

_INDENT = "  "


def text_of(file: ProtoFile) -> str:
    """The whole file."""
    head = ["// Written by a program: do not change it.", 'syntax = "proto3";', ""]
    head += [f"package {file.package};", ""]
    head += [f'import "{path}";' for path in file.imports]
    parts = [_service(file.service), *(_message(each) for each in file.messages)]
    return "\n".join([*head, *chain.from_iterable(["", *part] for part in parts), ""])


def _service(service: Service) -> Iterator[str]:
    yield from _comment(service.comment)
    yield f"service {service.name} {{"
    for method in service.methods:
        asked = f"stream {method.request}" if method.takes_stream else method.request
        answer = f"stream {method.response}" if method.is_stream else method.response
        yield from _indented(_comment(method.comment))
        yield f"{_INDENT}rpc {method.name}({asked}) returns ({answer});"
    yield "}"


def _message(message: Message) -> Iterator[str]:
    yield from _comment(message.comment)
    if not (message.fields or message.enums or message.retired):
        yield f"message {message.name} {{}}"
        return
    yield f"message {message.name} {{"
    yield from _indented(_reserved(message.retired))
    for field in message.fields:
        yield from _indented(_comment(field.comment))
        yield f"{_INDENT}{field.type} {field.name} = {field.number};"
    for enum in message.enums:
        yield ""
        yield from _indented(_enum(enum))
    yield "}"


def _enum(enum: Enum) -> Iterator[str]:
    yield f"enum {enum.name} {{"
    yield from _indented(_reserved(enum.retired))
    for value in enum.values:
        yield from _indented(_comment(value.comment))
        yield f"{_INDENT}{value.name} = {value.number};"
    yield "}"


def _reserved(numbers: tuple[int, ...]) -> Iterator[str]:
    runs = (f"{a}" if a == b else f"{a} to {b}" for a, b in ranges(numbers))
    if numbers:
        yield f"reserved {', '.join(runs)};"


def _comment(text: str) -> Iterator[str]:
    said = re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()
    if said:
        yield f"// {said}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"{_INDENT}{line}" if line else line for line in lines)
