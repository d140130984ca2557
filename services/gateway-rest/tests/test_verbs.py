"""What the gateway reads may be asked again; what it writes may not."""

from __future__ import annotations

import re
from pathlib import Path

import objectql_gateway_rest
from objectql.bus.client import READ_VERBS

SOURCES = sorted(Path(objectql_gateway_rest.__file__).parent.glob("*.py"))


def verbs(how: str) -> set[str]:
    """The verbs that the sources of the gateway call by `call.<how>`."""
    called = re.compile(rf'\bcall\.{how}\(\s*"([a-z_]+)"')
    return {verb for source in SOURCES for verb in called.findall(source.read_text())}


def test_the_bus_knows_every_read_of_the_gateway_for_one_and_no_write() -> None:
    assert len(verbs("read")) > 10
    assert len(verbs("write")) > 10
    assert verbs("read") <= READ_VERBS
    assert not verbs("write") & READ_VERBS
