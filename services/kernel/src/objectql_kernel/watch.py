"""Reloading on every save, for development.

What happens is logged for people and for `objectql dev`: `metadata_reloaded` with the changes, or
`metadata_problems` with every problem while what was in force stays in force. A record of a data
file that is refused is `seed_refused`; the metadata are in force then.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from watchfiles import (
    DefaultFilter,
    awatch,  # pyright: ignore[reportUnknownVariableType] - its event of trio
)

from objectql.errors import Issue, ObjectQLError
from objectql.kernel.kernel import Kernel

log = logging.getLogger(__name__)

DEBOUNCE_MS = 200
"""Saves that come within this time make one reload."""

FIRST_LOOK_MS = 500


class SourceFiles(DefaultFilter):
    """Leaves out what editors, version control and the development cluster write."""

    ignore_dirs = (*DefaultFilter.ignore_dirs, ".objectql")


async def watch(kernel: Kernel, folders: Sequence[Path], *, seeds: bool) -> None:
    """Reload `kernel` after every change in `folders`, until cancelled.

    Also once when the watching begins: a file may have been saved between the start and that.
    """
    is_first = True
    async for changes in awatch(
        *folders,
        watch_filter=SourceFiles(),
        debounce=DEBOUNCE_MS,
        rust_timeout=FIRST_LOOK_MS,
        yield_on_timeout=True,
    ):
        if changes or is_first:
            await reload(kernel, seeds=seeds, is_quiet=not changes)
        is_first = False


async def reload(kernel: Kernel, *, seeds: bool, is_quiet: bool = False) -> None:
    """Reload once and log what came of it; `is_quiet` says nothing where nothing is different."""
    try:
        reloaded = await kernel.reload()
    except ObjectQLError as exc:
        log_problems(exc)
        return
    seeded = 0
    if seeds:
        try:
            seeded = await kernel.seed()
        except ObjectQLError as exc:
            log.error("seed_refused", extra={"issues": _issues(exc)})  # noqa: TRY400 - no stack
    if is_quiet and not reloaded.changes:
        return
    facts = {
        "version": reloaded.version,
        "changes": [f"{change.path}: {change.detail}" for change in reloaded.changes],
        "schema": list(reloaded.schema),
        "functions": reloaded.functions,
        "seeded": seeded,
    }
    log.info("metadata_reloaded", extra=facts)


def log_problems(exc: ObjectQLError) -> None:
    """Log what keeps metadata from coming into force, every problem with its place."""
    log.error("metadata_problems", extra={"issues": _issues(exc)})


def _issues(exc: ObjectQLError) -> tuple[Issue, ...]:
    return exc.issues or (Issue("", exc.code, str(exc)),)
