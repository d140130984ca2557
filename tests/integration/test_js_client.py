"""The published ObjectStack client, installed as anybody would, against the whole cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from objectql_devstack.cluster import Cluster

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js with npm"),
]

PROJECT = Path(__file__).parent / "js"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the locked packages."""
    folder = tmp_path_factory.mktemp("js") / "client"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_call_of_the_client_is_answered_as_it_expects(
    cluster: Cluster, installed: Path
) -> None:
    told = {name: cluster.env[name] for name in ("OQL_REST_URL", "OQL_ADMIN_TOKEN")}
    done = subprocess.run(
        ["node", "check.mjs"],
        cwd=installed,
        env={**os.environ, **told},  # noqa: TID251 - node is found as in this shell
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
