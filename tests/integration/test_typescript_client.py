"""`clients/javascript` as it is shipped, against the whole cluster: in Node, and in a browser."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.clusters import ROOT

from objectql_devstack.cluster import Cluster

CLIENT = ROOT / "clients" / "javascript"
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js with npm"),
]


def told(cluster: Cluster, **more: str) -> dict[str, str]:
    names = ("OQL_REST_URL", "OQL_WS_URL", "OQL_ADMIN_TOKEN")
    return {**os.environ, **{name: cluster.env[name] for name in names}, **more}  # noqa: TID251 - node is found as in this shell


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """What a program prints that succeeds."""
    done = subprocess.run(command, cwd=CLIENT, env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    """The locked packages, as `make setup` installs them."""
    assert (CLIENT / "node_modules").is_dir(), "run `make setup`"


def test_the_client_loses_and_doubles_nothing_while_the_gateways_restart(
    cluster: Cluster, tmp_path: Path
) -> None:
    run("npx", "tsc", "-p", "tsconfig.build.json", "--noCheck", "--outDir", str(tmp_path / "dist"))
    (tmp_path / "package.json").write_text('{"type": "module"}')
    with subprocess.Popen(
        ["node", "tests/cluster/check.mjs", str(tmp_path / "dist")],
        cwd=CLIENT,
        env=told(cluster),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as checking:
        assert checking.stdout is not None
        said = checking.stdout.readline()
        if said == "restart\n":
            for name in ("gateway-ws-1", "gateway-rest-1"):
                cluster.kill(name)
                cluster.restart(name)
        said += checking.stdout.read()
    assert (checking.returncode, said) == (0, "restart\n")


def test_the_example_page_shows_what_happens_and_takes_back_what_failed(cluster: Cluster) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert browser is not None, "run `make browser`"
    run("node", "tests/cluster/page.mjs", env=told(cluster, CHROMIUM=browser))


def test_types_of_a_server_are_those_of_its_files(cluster: Cluster) -> None:
    """Line by line; other tests may have given the server more objects."""
    told_lines = run(str(ROOT / ".venv" / "bin" / "objectql"), "types", env=told(cluster))
    lines = iter(told_lines.splitlines())
    expected = (CLIENT / "example" / "objects.ts").read_text().splitlines()
    assert [line for line in expected if line not in lines] == []
