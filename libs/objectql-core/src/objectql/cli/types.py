"""`objectql types`: TypeScript types of the objects, of metadata files or of a running gateway."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from objectql.cli.requests import send
from objectql.metadata.build import build_snapshot
from objectql.metadata.document import Document
from objectql.metadata.loader import load_directory
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
    documents: list[dict[str, Any]] = send(url, token, "GET", "/api/meta/object")["items"]
    return _types(Document(_OF_SERVER, "object", each["name"], each) for each in documents)


def _types(documents: Iterable[Document]) -> str:
    objects = build_snapshot(documents, version=1).objects
    return typescript(each for each in objects.values() if not each.is_system)
