"""Property tests draw the same examples on every run, so that a red run is about the change.

`OQL_EXAMPLES=random` draws new ones, to go looking for what nobody thought of.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("same", derandomize=True)
settings.register_profile("random", derandomize=False)
settings.load_profile("random" if os.environ.get("OQL_EXAMPLES") == "random" else "same")  # noqa: TID251 - a switch of the tests
