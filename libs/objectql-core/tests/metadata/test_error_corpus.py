"""Each directory of the corpus holds files with mistakes, and the problems that must be found.

The comparison is exact: no problem may be missing and none may be made up.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from objectql.errors import MetadataInvalid
from objectql.metadata.loader import build_snapshot, load_directory

REPOSITORY = Path(__file__).parents[4]
CASES = sorted((REPOSITORY / "tests/conformance/metadata_errors").glob("*/expected.yml"))


@pytest.mark.parametrize("expected", CASES, ids=lambda path: path.parent.name)
def test_every_problem_is_found_at_its_place_and_no_other(expected: Path) -> None:
    with pytest.raises(MetadataInvalid) as failure:
        build_snapshot(load_directory(expected.parent).items, version=1)

    found = [
        {"code": i.code, "file": i.file, "line": i.line, "path": i.path}
        for i in failure.value.issues
    ]
    wanted = [
        {"line": None, "path": "", **problem}
        for problem in yaml.safe_load(expected.read_text("utf-8"))
    ]
    assert found == wanted


def test_corpus_covers_the_language() -> None:
    codes = {
        problem["code"] for case in CASES for problem in yaml.safe_load(case.read_text("utf-8"))
    }
    assert len(CASES) >= 150
    assert len(codes) >= 90
