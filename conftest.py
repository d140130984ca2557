"""What is true of all tests.

Property tests draw the same examples on every run, so that a red run is about the change;
`OQL_EXAMPLES=random` draws new ones, to go looking for what nobody thought of. Tests that need a
Docker engine are skipped, with the reason, where none answers.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from objectql_devstack.engine import engine_problem
from objectql_devstack.environment import stack_mode

settings.register_profile("same", derandomize=True)
settings.register_profile("random", derandomize=False)
settings.load_profile("random" if os.environ.get("OQL_EXAMPLES") == "random" else "same")  # noqa: TID251 - a switch of the tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needing = [item for item in items if item.get_closest_marker("containers")]
    if stack_mode() != "containers":  # the others run on the programs of this machine then
        native = {"servers", "faults"}
        needing = [i for i in needing if not any(mark.name in native for mark in i.iter_markers())]
    if needing and (problem := engine_problem()):
        for item in needing:
            item.add_marker(pytest.mark.skip(reason=problem))
