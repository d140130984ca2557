"""YAML and JSON text to plain values, with the place of every key and without surprises.

The scalar rules are those of YAML 1.2's core schema, as the JavaScript originals read it: `on`,
`yes` and `2026-01-01` are text, keys are always text. What makes YAML dangerous is refused: tags
that build objects, aliases that multiply (the "billion laughs"), depth, repeated keys.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias, cast

import yaml

MAX_DEPTH = 48
MAX_ALIASED_NODES = 10_000
"""How many nodes aliases may add to a document beyond the ones that are written out."""

Place: TypeAlias = "tuple[int, int]"
"""Line and column, both from 1."""


class Parsed(NamedTuple):
    """A document: its value and the place of each dotted path (`fields.total.type`)."""

    value: Any
    positions: dict[str, Place]


class SyntaxProblem(Exception):
    """The text is no document; `code` is the stable name of the mistake."""

    def __init__(self, code: str, message: str, place: Place) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.place = place


_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    spelling: word == "true"
    for word in ("true", "false")
    for spelling in (word, word.title(), word.upper())
}
_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_RADIX = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_MAX_DIGITS = 40
_TAG_PREFIX = "tag:yaml.org,2002:"
_SAFE_TAGS = frozenset(_TAG_PREFIX + kind for kind in "str int float bool null seq map".split())
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def parse_yaml(text: str) -> Parsed:
    """The one document in `text`.

    Raises:
        SyntaxProblem: it is empty, malformed, or uses what is refused here.

    """
    builder = _Builder(text)
    try:
        return builder.document()
    except yaml.MarkedYAMLError as exc:
        raise _translated(exc, text) from exc
    except yaml.YAMLError as exc:  # a character that YAML does not allow anywhere
        raise SyntaxProblem("yaml_syntax", str(exc).splitlines()[0], (1, 1)) from exc


def parse_json(text: str) -> Parsed:
    """The one value in `text`, which must be strict JSON.

    Raises:
        SyntaxProblem: it is empty, malformed, too deep, or repeats a key.

    """
    if not text.strip():
        raise SyntaxProblem("file_empty", "the file is empty", (1, 1))
    if _json_depth(text) > MAX_DEPTH:
        raise SyntaxProblem("too_deep", f"nested deeper than {MAX_DEPTH} levels", (1, 1))
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as exc:
        raise SyntaxProblem("json_syntax", exc.msg, (exc.lineno, exc.colno)) from exc
    # JSON is YAML once raw tabs, which can only be white space in it, are blanks.
    try:
        positions = parse_yaml(text.replace("\t", " ")).positions
    except SyntaxProblem as problem:
        if problem.code == "duplicate_key":
            raise
        positions = {}  # an escape that only JSON knows (surrogate pairs); places are a courtesy
    return Parsed(value, positions)


def _refuse_constant(name: str) -> float:
    raise SyntaxProblem("number_not_finite", f"{name} is not a number that can be stored", (1, 1))


def _json_depth(text: str) -> int:
    depth = deepest = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text):
        if token[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token[0] in "]}":
            depth -= 1
    return deepest


def _translated(exc: yaml.MarkedYAMLError, text: str) -> SyntaxProblem:
    mark = exc.problem_mark or exc.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines()
    written = lines[line] if line < len(lines) else ""
    indentation = written[: len(written) - len(written.lstrip())]
    if "\t" in indentation:
        message = "a tab indents this line; YAML is indented with blanks"
        return SyntaxProblem("yaml_tab", message, (line + 1, indentation.index("\t") + 1))
    problem = exc.problem or exc.context or "malformed"
    return SyntaxProblem("yaml_syntax", str(problem), (line + 1, column + 1))


class _Builder:
    """Builds one document out of the parser's events; recursion is bounded by `MAX_DEPTH`."""

    def __init__(self, text: str) -> None:
        parse = cast("Any", yaml).parse
        self._events: Iterator[Any] = iter(parse(text, Loader=_LOADER))
        self._positions: dict[str, Place] = {}
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0
        self._aliased = 0

    def document(self) -> Parsed:
        next(self._events)  # the start of the stream
        event = next(self._events)
        if not isinstance(event, yaml.DocumentStartEvent):
            raise SyntaxProblem("file_empty", "the file is empty", (1, 1))
        value = self._node(next(self._events), "", 0)
        next(self._events)
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            message = "a file holds one document; remove what follows the `---`"
            raise SyntaxProblem("yaml_several_documents", message, _place(event))
        if value is None:
            raise SyntaxProblem("file_empty", "the file is empty", (1, 1))
        return Parsed(value, self._positions)

    def _node(self, event: Any, path: str, depth: int) -> Any:
        self._positions.setdefault(path, _place(event))
        if depth > MAX_DEPTH:
            raise SyntaxProblem("too_deep", f"nested deeper than {MAX_DEPTH} levels", _place(event))
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None and event.tag != "!" and event.tag not in _SAFE_TAGS:
            raise SyntaxProblem("yaml_tag", f"the tag {event.tag} is not allowed", _place(event))
        before = self._nodes
        self._nodes += 1
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(path, depth)
        else:
            value = self._mapping(path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._nodes - before)
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise SyntaxProblem("yaml_alias", f"there is no anchor &{event.anchor}", _place(event))
        value, size = self._anchors[event.anchor]
        self._nodes += size
        self._aliased += size
        if self._aliased > MAX_ALIASED_NODES:
            message = f"aliases multiply this document by more than {MAX_ALIASED_NODES} values"
            raise SyntaxProblem("yaml_alias_bomb", message, _place(event))
        return value

    def _sequence(self, path: str, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._node(event, _join(path, str(len(values))), depth + 1))
        return values

    def _mapping(self, path: str, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise SyntaxProblem("yaml_key", "a key must be a plain text", _place(event))
            key = str(event.value)
            place = _place(event)
            if key in values:
                raise SyntaxProblem("duplicate_key", f'the key "{key}" stands here twice', place)
            child = _join(path, key)
            if key == "<<" and event.implicit[0]:
                merged.update(self._merged(child, depth, place))
                continue
            self._positions[child] = place
            values[key] = self._node(next(self._events), child, depth + 1)
        return {**merged, **values} if merged else values

    def _merged(self, path: str, depth: int, place: Place) -> dict[str, Any]:
        source = self._node(next(self._events), path, depth + 1)
        layers = cast("list[Any]", source) if isinstance(source, list) else [source]
        merged: dict[str, Any] = {}
        for layer in reversed(layers):
            if not isinstance(layer, dict):
                raise SyntaxProblem("yaml_merge", "`<<` takes a mapping or a list of them", place)
            merged.update(cast("dict[str, Any]", layer))
        return merged


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _place(event: Any) -> Place:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _scalar(event: Any) -> Any:
    text = str(event.value)
    tag = event.tag
    if tag == "!" or tag == _TAG_PREFIX + "str" or (tag is None and not event.implicit[0]):
        return text
    value: Any = _resolve(text, event)
    kind = "str" if tag is None else tag.removeprefix(_TAG_PREFIX)
    expected = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}.get(kind)
    if expected is not None and not isinstance(value, expected):
        raise SyntaxProblem("yaml_tag", f'"{text}" is not a !!{kind}', _place(event))
    if kind == "float":
        return float(text)
    return value


def _resolve(text: str, event: Any) -> str | int | float | bool | None:
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.match(text):
        if len(text) > _MAX_DIGITS:
            raise SyntaxProblem("number_too_long", "a number of so many digits", _place(event))
        return int(text)
    if _RADIX.match(text) and len(text) <= _MAX_DIGITS:
        return int(text, 0)
    if _FLOAT.match(text):
        number = float(text)
        if math.isfinite(number):
            return number
    elif not _NOT_FINITE.match(text):
        return text
    message = f"{text} is not a number that can be stored"
    raise SyntaxProblem("number_not_finite", message, _place(event))
