"""A directory of metadata files to documents.

The file name says what a file is: `invoice.object.yml`, `invoice.hook.py`, and so on. Files whose
text cannot be read at all are reported together; what the documents say is `build`'s to check.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from objectql.errors import Issue, MetadataInvalid, suggestion_text
from objectql.metadata.build import build_snapshot
from objectql.metadata.document import CodeFile, Document, Node, Problems
from objectql.metadata.keys import MANIFEST, read_keys
from objectql.metadata.registry import KINDS
from objectql.metadata.yaml import Parsed, SyntaxProblem, parse_json, parse_yaml

__all__ = ["LoadedPackage", "build_snapshot", "load_directory", "read_document"]

MAX_FILE_BYTES = 1 << 20
MAX_DATA_BYTES = 16 << 20
MANIFESTS = ("package.yml", "package.yaml")
_SKIPPED = frozenset[str]({"node_modules", ".git", ".objectql", "__pycache__", ".venv"})
_BUILD_OUTPUT = frozenset({"dist", "build", "out"})
_EXTENSIONS = frozenset({".yml", ".yaml", ".json"})
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?\Z")
_PACKAGE_NAME = re.compile(r"[@a-z0-9][a-z0-9._/-]{0,127}\Z")


class LoadedPackage(msgspec.Struct, frozen=True):
    """What a directory holds. `manifest` has canonical keys and is empty without a file."""

    name: str
    items: tuple[Document, ...]
    code_files: tuple[CodeFile, ...]
    warnings: tuple[Issue, ...] = ()
    manifest: Mapping[str, Any] = {}


def load_directory(root: Path, *, package: str | None = None) -> LoadedPackage:
    """Everything under `root`; the package is called `package`, or as its manifest says.

    Raises:
        MetadataInvalid: files that cannot be read, a manifest that is wrong; all of them.

    """
    problems = Problems()
    manifest = _load_manifest(root, problems)
    name = package or manifest.get("name") or manifest.get("id") or root.resolve().name
    documents: list[Document] = []
    code: list[CodeFile] = []
    for path in _files(root):
        relative = PurePosixPath(path.relative_to(root).as_posix())
        stem, kind = _kind_of(relative)
        if relative.suffix == ".py" and kind in ("hook", "action"):
            code.append(CodeFile(kind, stem, relative))
        elif relative.suffix not in _EXTENSIONS or not kind:
            continue
        elif kind in KINDS:
            document = read_document(path, relative, problems, layer=name, kind=kind, name=stem)
            if document is not None:
                documents.append(document)
        else:
            _report_unknown_kind(kind, relative, problems)
    _check_namespace(manifest, documents, problems)
    if problems.errors:
        raise MetadataInvalid(issues=tuple(problems.errors))
    return LoadedPackage(name, tuple(documents), tuple(code), tuple(problems.warnings), manifest)


def read_document(
    path: Path, relative: PurePosixPath, problems: Problems, *, layer: str, kind: str, name: str
) -> Document | None:
    """The document in one file; None after reporting why it cannot be read."""
    file = str(relative)
    try:
        parsed = _parse(path, kind)
    except SyntaxProblem as problem:
        line, column = problem.place
        issue = Issue("", problem.code, problem.message, file=file, line=line, column=column)
        problems.errors.append(issue)
        return None
    return Document(layer, kind, name, parsed.value, file, parsed.positions)


def _parse(path: Path, kind: str) -> Parsed:
    data = path.read_bytes()
    limit = MAX_DATA_BYTES if kind == "data" else MAX_FILE_BYTES
    if len(data) > limit:
        message = f"a {kind or 'metadata'} file has at most {limit} bytes"
        raise SyntaxProblem("file_too_large", message, (1, 1))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        message = "the file is not encoded in UTF-8"
        raise SyntaxProblem("file_encoding", message, _place(data, exc.start)) from exc
    if "\0" in text:
        place = _place(data, data.index(b"\0"))
        raise SyntaxProblem("file_nul", "the file holds a NUL byte", place)
    return parse_json(text) if path.suffix == ".json" else parse_yaml(text)


def _place(data: bytes, offset: int) -> tuple[int, int]:
    before = data[:offset]
    return before.count(b"\n") + 1, offset - (before.rfind(b"\n") + 1) + 1


def _files(root: Path) -> Iterator[Path]:
    """The files under `root` in a fixed order, without dependencies and build output."""
    for folder, folders, files in os.walk(root):
        skipped = _SKIPPED | (_BUILD_OUTPUT if "src" in folders else frozenset[str]())
        folders[:] = sorted(name for name in folders if name not in skipped)
        yield from (Path(folder, name) for name in sorted(files))


def _kind_of(path: PurePosixPath) -> tuple[str, str]:
    """Stem and kind of a file name; the kind is empty where the name has none."""
    parts = path.parts
    if len(parts) >= 3 and parts[-3] == "i18n" and path.suffix == ".json":
        return f"{parts[-2]}.{path.stem}", "translation"
    stem, _, kind = path.stem.rpartition(".")
    return (stem, kind) if stem else (kind, "")


def _report_unknown_kind(kind: str, path: PurePosixPath, problems: Problems) -> None:
    near = tuple(get_close_matches(kind, KINDS, n=1))
    message = f'"{kind}" is no type of metadata file{suggestion_text(near)}'
    issue = Issue("", "unknown_file_kind", message, file=str(path))
    (problems.errors if near else problems.warnings).append(issue)


def _load_manifest(root: Path, problems: Problems) -> dict[str, Any]:
    found = next((root / name for name in MANIFESTS if (root / name).is_file()), None)
    if found is None:
        return {}
    relative = PurePosixPath(found.name)
    document = read_document(found, relative, problems, layer="", kind="", name="package")
    if document is None:
        return {}
    keys = read_keys(Node.root(document, problems), MANIFEST)
    for key in ("id", "name", "namespace", "version"):
        if key in keys and (text := keys[key].text()) is not None:
            _check_identity(key, keys[key], text)
    if "dependencies" in keys:
        for member in keys["dependencies"].entries().values():
            member.text()
    return {key: node.value for key, node in keys.items()}


def _check_identity(key: str, node: Node, text: str) -> None:
    if key == "version" and not _VERSION.match(text):
        node.fail("manifest_version", f'"{text}" is no version such as 1.2.3')
    elif key == "namespace" and not re.match(r"[a-z][a-z0-9_]*\Z", text):
        node.fail("manifest_namespace", "a namespace starts names: a to z, 0 to 9 and _")
    elif key == "name" and not _PACKAGE_NAME.match(text):
        node.fail("manifest_name", "a package's name is of a to z, 0 to 9, dots and hyphens")


def _check_namespace(
    manifest: Mapping[str, Any], documents: list[Document], problems: Problems
) -> None:
    namespace = manifest.get("namespace")
    if not isinstance(namespace, str):
        return
    for document in documents:
        if document.type == "object" and not document.name.startswith(f"{namespace}_"):
            message = f"objects of this package are called {namespace}_…"
            Node.root(document, problems).fail("outside_namespace", message)
