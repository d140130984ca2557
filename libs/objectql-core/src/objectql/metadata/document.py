"""A metadata document as it was read, and a value inside it that knows its place.

Checks walk `Node`s, never bare values, so each problem is reported with file, line, column and
path, and merging several documents of one object loses none of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple, cast

import msgspec

from objectql.errors import Issue, suggestion_text
from objectql.metadata.yaml import Place

CUSTOM_LAYER = "custom"
"""The layer of what administrators change at run time; it is applied last."""


TENANT_LAYER = "tenant"
"""The layer of what a tenant has of its own; it lies over all that is published."""

_MAX_INTEGER: Final = 2**63 - 1
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")


class Document(msgspec.Struct, frozen=True, omit_defaults=True):
    """One metadata document. `layer` is the package's name, or `custom`.

    `content` is what the file or request held. `path` is the file's, relative to the package;
    `positions` maps dotted paths in `content` to places and is empty for stored documents.
    """

    layer: str
    type: str
    name: str
    content: Any
    path: str = ""
    positions: Mapping[str, Place] = {}


class CodeFile(NamedTuple):
    """A Python file of a package; `kind` is `hook` or `action`, `object` the file's stem."""

    kind: str
    object: str
    path: PurePosixPath


class Problems:
    """Collects what is wrong, and what is only odd, in the order of discovery."""

    def __init__(self) -> None:
        self.errors: list[Issue] = []
        self.warnings: list[Issue] = []


class Node:
    """A value, the document that holds it and its path there."""

    __slots__ = ("document", "path", "problems", "value")

    def __init__(self, value: Any, document: Document, path: str, problems: Problems) -> None:
        self.value = value
        self.document = document
        self.path = path
        self.problems = problems

    @staticmethod
    def root(document: Document, problems: Problems) -> Node:
        return Node(document.content, document, "", problems)

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.value, Mapping)

    @property
    def is_list(self) -> bool:
        return isinstance(self.value, list | tuple)

    def child(self, key: str, value: Any) -> Node:
        path = f"{self.path}.{key}" if self.path else key
        return Node(value, self.document, path, self.problems)

    def _issue(self, code: str, message: str) -> Issue:
        line, column = self._place()
        file = self.document.path or f"{self.document.type}/{self.document.name}"
        return Issue(
            path=self.path, code=code, message=message, file=file, line=line, column=column
        )

    def _place(self) -> Place | tuple[None, None]:
        """The place of this value or of the nearest one around it (aliases have none)."""
        path = self.path
        while path not in self.document.positions:
            if not path:
                return None, None
            path = path.rpartition(".")[0]
        return self.document.positions[path]

    def fail(self, code: str, message: str, *, near: str = "", among: Iterable[str] = ()) -> None:
        """Record an error; the names of `among` that resemble `near` are suggested."""
        found = tuple(get_close_matches(near, list(among), n=2)) if near else ()
        self.problems.errors.append(self._issue(code, message + suggestion_text(found)))

    def warn(self, code: str, message: str) -> None:
        self.problems.warnings.append(self._issue(code, message))

    # Readers: the value in the expected type, or None after reporting `wrong_type`.

    def _wrong(self, expected: str) -> None:
        self.fail("wrong_type", f"{expected} is expected here, not {describe(self.value)}")

    def entries(self) -> dict[str, Node]:
        """The members of a mapping; empty after reporting that it is none."""
        if not self.is_mapping:
            self._wrong("a mapping")
            return {}
        members = cast("Mapping[str, Any]", self.value)
        return {str(key): self.child(str(key), value) for key, value in members.items()}

    def elements(self) -> list[Node]:
        """The elements of a list; empty after reporting that it is none."""
        if not self.is_list:
            self._wrong("a list")
            return []
        values = cast("list[Any]", self.value)
        return [self.child(str(index), value) for index, value in enumerate(values)]

    def text(self) -> str | None:
        if isinstance(self.value, str):
            return self.value
        self._wrong("text")
        return None

    def boolean(self) -> bool | None:
        if isinstance(self.value, bool):
            return self.value
        self._wrong("true or false")
        return None

    def number(self) -> float | None:
        if isinstance(self.value, int | float) and not isinstance(self.value, bool):
            return self.value
        self._wrong("a number")
        return None

    def count(self) -> int | None:
        """A whole number from 0."""
        value = self.value
        if isinstance(value, int) and not isinstance(value, bool):
            if value >= 0:
                return value
            self.fail("negative_number", "a number from 0 is expected here")
            return None
        self._wrong("a whole number")
        return None

    def texts(self) -> list[tuple[str, Node]]:
        """The texts of a list, each with its node; what is no text is reported."""
        found = ((element.text(), element) for element in self.elements())
        return [(text, element) for text, element in found if text is not None]

    def choice(self, allowed: Iterable[str]) -> str | None:
        """One of `allowed`, or None after reporting `value_not_allowed`."""
        text = self.text()
        allowed = tuple(allowed)
        if text is None or text in allowed:
            return text
        message = f'"{text}" is not one of {", ".join(allowed)}'
        self.fail("value_not_allowed", message, near=text, among=allowed)
        return None


def check_values(node: Node) -> None:
    """Report what no store and no wire can hold, wherever it stands below `node`.

    Whole numbers have 64 bits, of which one is the sign; text has no U+0000 and no half of a pair.
    """
    value = node.value
    if isinstance(value, str):
        if "\0" in value or _HALF_PAIR.search(value):
            node.fail("bad_character", "this text holds a character that cannot be stored")
    elif isinstance(value, int):
        if not -_MAX_INTEGER <= value <= _MAX_INTEGER:
            node.fail(
                "number_too_large", f"whole numbers go up to {_MAX_INTEGER}; write it as text"
            )
    elif node.is_mapping:
        for key, member in node.entries().items():
            check_values(node.child("", key))
            check_values(member)
    elif node.is_list:
        for element in node.elements():
            check_values(element)


def describe(value: Any) -> str:
    """The JSON kind of `value`, for messages."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list | tuple) else "a mapping"
