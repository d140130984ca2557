"""What is true of all tests: those that need a Docker engine are skipped, with the reason, where none answers."""

from __future__ import annotations

import pytest

from objectql_devstack.engine import engine_problem
from objectql_devstack.environment import stack_mode


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needing = [item for item in items if item.get_closest_marker("containers")]
    if stack_mode() != "containers":  # the others run on the programs of this machine then
        native = {"servers", "faults"}
        needing = [i for i in needing if not any(mark.name in native for mark in i.iter_markers())]
    if needing and (problem := engine_problem()):
        for item in needing:
            item.add_marker(pytest.mark.skip(reason=problem))
