"""The vectors recorded from the original implementations, which are kept outside the project."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "conformance"
VECTORS = Path(os.environ.get("OQL_VECTORS_DIR") or _BESIDE)  # noqa: TID251 - where the vectors are is told by the environment

needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason=f"no vectors in {VECTORS}")


def load_vectors(name: str) -> dict[str, Any]:
    """A file of vectors; empty where there is none, for tests that `needs_vectors` skips."""
    path = VECTORS / name
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}
