"""`make permissions CASES=1000000 SEED=0`: random permissions, decided by every door and by hand.

Ends with the world and the caller of the first difference.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed

from objectql.drivers.memory import MemoryDriver
from tests.security.differential import Difference, prove

CHUNK = 50_000
SEEDS_APART = 1_000_000


def _prove(first_seed: int) -> int:
    return asyncio.run(prove(MemoryDriver(), CHUNK, first_seed))


def main() -> int:
    """Run as asked; 1 when some decision differs."""
    parser = argparse.ArgumentParser(prog="make permissions")
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    started_s = time.monotonic()
    chunks = -(-options.cases // CHUNK)
    with ProcessPoolExecutor(options.processes) as pool:
        todo = [pool.submit(_prove, options.seed + n * SEEDS_APART) for n in range(chunks)]
        for done, future in enumerate(as_completed(todo), 1):
            try:
                future.result()
            except Difference as difference:
                pool.shutdown(wait=False, cancel_futures=True)
                sys.stdout.write(f"{difference}\n")
                return 1
            seconds = time.monotonic() - started_s
            sys.stdout.write(f"{done * CHUNK:,} decisions alike in {seconds:.0f} s\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
