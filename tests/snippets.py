"""Commands in the documentation, and whether what they print is what is printed there.

```sh run            is run, in the order of the page, all blocks of a page in one shell
```text output       what the block before it prints; `...` stands for anything
```json output       the same, compared as JSON; the string "..." stands for any value
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

_FENCE = re.compile(r"^```(\w+) (run|output)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Output(NamedTuple):
    """What a page says that a block prints."""

    kind: Literal["text", "json"]
    text: str


class Snippet(NamedTuple):
    """A block to run; `line` is where it begins on its page."""

    line: int
    code: str
    output: Output | None = None


def snippets_of(page: Path) -> list[Snippet]:
    """The blocks of a page that are to be run, in order."""
    text = page.read_text()
    found: list[Snippet] = []
    for match in _FENCE.finditer(text):
        language, mark, body = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        if (language, mark) == ("sh", "run"):
            found.append(Snippet(line, body))
        elif mark == "output" and language in ("text", "json") and found:
            found[-1] = found[-1]._replace(output=Output(language, body))
        else:
            raise ValueError(f"{page}:{line}: `{language} {mark}` means nothing here")
    return found


def is_as_printed(expected: Output, actual: str) -> bool:
    """Whether `actual` is what the page says."""
    if expected.kind == "json":
        return _alike(json.loads(expected.text), json.loads(actual))
    parts = [re.escape(part) for part in expected.text.strip().split("...")]
    return re.fullmatch(".*?".join(parts), actual.strip(), re.DOTALL) is not None


def _alike(expected: Any, actual: Any) -> bool:
    if expected == "...":
        return True
    if isinstance(expected, dict) and isinstance(actual, dict):
        wanted, given = cast("dict[str, Any]", expected), cast("dict[str, Any]", actual)
        return wanted.keys() == given.keys() and all(_alike(wanted[k], given[k]) for k in wanted)
    if isinstance(expected, list) and isinstance(actual, list):
        parts, members = cast("list[Any]", expected), cast("list[Any]", actual)
        return len(parts) == len(members) and all(map(_alike, parts, members))
    return expected == actual
