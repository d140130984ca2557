"""`objectql types`: TypeScript types of the objects, of metadata files or of a running gateway."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from objectql.cli.requests import send
from objectql.metadata.build import build_snapshot
from objectql.metadata.document import Document
from objectql.metadata.loader import load_directory
from objectql.metadata.model import SHARES, shares_field
from objectql.metadata.typescript import typescript

_OF_SERVER = "server"


def types_of_files(directories: list[Path]) -> str:
    """The types of the objects in `directories`.

    Raises:
        MetadataInvalid: with every problem.

    """
    return _types(item for directory in directories for item in load_directory(directory).items)


def types_of_server(url: str, token: str) -> str:
    """The types of the objects of the gateway at `url`, with the fields that the caller may read.

    Raises:
        Refused: it cannot be reached, or says no.

    """
    items: list[dict[str, Any]] = send(url, token, "GET", "/api/meta/object")["items"]
    documents = [Document(_OF_SERVER, "object", each["name"], each) for each in items]
    shared = {each["name"] for each in items if SHARES in each["fields"]}
    return _types(documents, shared)


def _types(documents: Iterable[Document], shared: Collection[str] = ()) -> str:
    """`shared` names the objects that have `SHARES` by permissions that are not among `documents`."""
    objects = build_snapshot(documents, version=1).objects.values()
    return typescript(
        replace(each, fields={**each.fields, SHARES: shares_field()})
        if each.name in shared
        else each
        for each in objects
        if not each.is_system
    )
