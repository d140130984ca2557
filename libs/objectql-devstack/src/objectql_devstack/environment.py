"""The environment of this process: the only module here that reads it.

Two groups of names: what a developer may set (`OQL_*`, `KERNELS`), read one by one through `setting`,
and what a child process inherits, built by `inherited`.
"""

from __future__ import annotations

import os
from typing import Literal, TypeGuard

from objectql_devstack.errors import DevStackError

StackMode = Literal["local", "containers", "external"]


def _is_mode(text: str) -> TypeGuard[StackMode]:
    return text in {"local", "containers", "external"}


def setting(name: str, default: str = "") -> str:
    """The value of one environment variable; an empty one counts as absent."""
    return os.environ.get(name) or default  # noqa: TID251 - the home of the environment


def port_setting(name: str, default: int) -> int:
    """A port number from the environment.

    Raises:
        DevStackError: The variable holds something else.
    """
    text = setting(name, str(default))
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise DevStackError(f"{name}={text!r} is not a port number")
    return int(text)


def count_setting(name: str, default: int) -> int:
    """A positive count from the environment.

    Raises:
        DevStackError: The variable holds something else.
    """
    text = setting(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise DevStackError(f"{name}={text!r} is not a positive number")
    return int(text)


def stack_mode() -> StackMode:
    """Where the data services come from: `OQL_STACK`, by default programs of this machine.

    Raises:
        DevStackError: `OQL_STACK` names no known mode.
    """
    text = setting("OQL_STACK", "local")
    if not _is_mode(text):
        raise DevStackError(f"OQL_STACK={text!r}: use local, containers or external")
    return text


def inherited(*, hermetic: bool) -> dict[str, str]:
    """What a child process inherits.

    Args:
        hermetic: Leave out every `OQL_*`, and every `PG*` that Postgres' own tools heed, so that a
            test never depends on the developer's shell.
    """
    names = dict(os.environ)  # noqa: TID251 - the home of the environment
    if hermetic:
        return {name: value for name, value in names.items() if not name.startswith(("OQL_", "PG"))}
    return names
