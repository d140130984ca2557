"""`make oracle QUERIES=1000000 SEED=1`: random queries for as long as one likes.

Prints how far it has come with the seed to go on from. A difference ends it with the seed and the
case made small.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from objectql_devstack import DataStack
from tests.oracle.checking import Difference
from tests.oracle.running import Tally, run_queries

_EVERY_S = 10.0


class Progress:
    """Tells now and then how far the run has come."""

    def __init__(self, first_seed: int, queries: int) -> None:
        self._next = first_seed
        self._queries = queries
        self._open: set[int] = set()
        self._started_s = self._told_s = time.monotonic()
        self.answered = self.refused = self.statements = 0

    def add(self, tally: Tally) -> None:
        """Count a seed that is done; seeds end in any order."""
        self.answered += tally.answered
        self.refused += tally.refused
        self.statements += tally.statements
        self._open.add(tally.seed)
        while self._next in self._open:
            self._open.discard(self._next)
            self._next += 1
        if time.monotonic() - self._told_s >= _EVERY_S:
            self._told_s = time.monotonic()
            self.tell()

    def tell(self) -> None:
        """Print the counts, the speed, and the seed before which everything is done."""
        done = self.answered + self.refused
        speed = done / (time.monotonic() - self._started_s)
        _say(
            f"{done:,} of {self._queries:,} queries, {self.statements:,} statements,"
            f" {self.refused:,} refused, {speed:.0f}/s; go on with SEED={self._next}"
        )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run as asked; 1 when some answer differs."""
    parser = argparse.ArgumentParser(prog="make oracle")
    parser.add_argument("--queries", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    progress = Progress(options.seed, options.queries)
    with (
        tempfile.TemporaryDirectory() as folder,
        DataStack.start(Path(folder), {"postgres"}) as stack,
    ):
        try:
            run_queries(
                stack.pg_url,
                options.seed,
                options.queries,
                processes=options.processes,
                report=progress.add,
            )
        except Difference as difference:
            progress.tell()
            _say(str(difference))
            return 1
    progress.tell()
    _say("every answer is the oracle's")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
