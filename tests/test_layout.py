"""Rules of the workspace that no other tool checks."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
MAX_LINES = 500


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name]


def test_no_module_is_longer_than_the_limit() -> None:
    modules = [path for path in tracked("*.py") if "tests" not in path.parts]
    assert len(modules) > 100
    long = {
        str(path.relative_to(ROOT)): lines
        for path in modules
        if path.exists() and (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert long == {}


def locked() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)", line)
        if match:
            found.setdefault(match[1].lower().replace("_", "-"), []).append(match[2])
    return found


def declared() -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for path in [
        ROOT / "pyproject.toml",
        *ROOT.glob("libs/*/pyproject.toml"),
        *ROOT.glob("services/*/pyproject.toml"),
    ]:
        document: dict[str, Any] = tomllib.loads(path.read_text())
        wanted: list[str] = list(document["project"].get("dependencies", []))
        extras: dict[str, list[str]] = document["project"].get("optional-dependencies", {})
        for group in [*document.get("dependency-groups", {}).values(), *extras.values()]:
            wanted += group
        found += [(str(path.relative_to(ROOT)), text) for text in wanted]
    return found


@pytest.mark.parametrize(("where", "text"), declared())
def test_the_lock_satisfies_what_is_declared(where: str, text: str) -> None:
    requirement = Requirement(text)
    if requirement.name.startswith("objectql-"):
        return
    versions = locked().get(requirement.name.lower().replace("_", "-"), [])
    assert any(requirement.specifier.contains(version) for version in versions), where


def test_every_locked_package_has_a_hash_and_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    packages = re.findall(r"(?m)^[A-Za-z0-9].*?==.*?\\\n((?:    --hash=.*\n)+)", text)
    assert len(packages) == len(re.findall(r"(?m)^[A-Za-z0-9].*==", text))


def test_the_lock_of_the_javascript_packages_has_hashes_and_names_no_registry() -> None:
    lock: dict[str, Any] = json.loads(
        (ROOT / "clients" / "javascript" / "package-lock.json").read_text()
    )
    packages = [package for path, package in lock["packages"].items() if path]
    assert len(packages) > 50
    assert not any("resolved" in package for package in packages)
    assert all("integrity" in package for package in packages if "version" in package)
