"""What the README and the guides tell people to type works on a whole cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.clusters import ROOT
from tests.snippets import is_as_printed, snippets_of

from objectql_devstack.cluster import Cluster

pytestmark = pytest.mark.servers

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_of_a_page_do_what_it_says(
    page: Path, cluster: Cluster, tmp_path: Path
) -> None:
    if page.stem == "javascript-client" and shutil.which("node") is None:
        pytest.skip("needs Node.js")
    snippets = snippets_of(page)
    assert snippets, f"{page.name} has no block marked `sh run`"
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / ".objectql").symlink_to(cluster.state.path)
    for name in (".venv", "examples", "clients", "deploy"):
        (folder / name).symlink_to(ROOT / name)
    script = "set -eo pipefail\n" + "".join(
        f"exec >{tmp_path}/{number}\n{snippet.code}" for number, snippet in enumerate(snippets)
    )
    variables = {k: v for k, v in os.environ.items() if not k.startswith("OQL_")}
    done = subprocess.run(
        ["bash", "-c", script],
        check=False,
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=100,
    )
    printed = [
        path.read_text() for n, _ in enumerate(snippets) if (path := tmp_path / f"{n}").exists()
    ]
    last = snippets[len(printed) - 1]
    assert done.returncode == 0, f"{page.name}:{last.line}\n{printed[-1]}\n{done.stderr}"
    for snippet, text in zip(snippets, printed, strict=True):
        if snippet.output is not None:
            assert is_as_printed(snippet.output, text), f"{page.name}:{snippet.line}\n{text}"
