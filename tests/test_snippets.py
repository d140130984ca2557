from __future__ import annotations

from pathlib import Path

import pytest

from tests.snippets import Output, Snippet, is_as_printed, snippets_of

PAGE = """
```sh
not run
```

```sh run
echo '{"a": 1}'
```

```json output
{"a": "..."}
```
"""


def test_marked_blocks_are_found_with_their_output(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    code = "echo '{\"a\": 1}'\n"
    assert snippets_of(page) == [Snippet(6, code, Output("json", '{"a": "..."}\n'))]


def test_a_mark_that_means_nothing_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python run\nx\n```\n")
    with pytest.raises(ValueError, match=r"page\.md:1"):
        snippets_of(page)


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        (Output("text", "a ... c\n"), "a b c", True),
        (Output("text", "a.c"), "abc", False),
        (Output("text", "a"), "a b", False),
        (Output("json", '{"id": "...", "n": [1, 2]}'), '{"n": [1, 2], "id": {"x": 1}}', True),
        (Output("json", '{"id": "..."}'), '{"id": 1, "more": 2}', False),
        (Output("json", "[1]"), "[1, 1]", False),
    ],
)
def test_dots_stand_for_anything(expected: Output, actual: str, same: bool) -> None:
    assert is_as_printed(expected, actual) is same
