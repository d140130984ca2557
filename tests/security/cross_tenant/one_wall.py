"""`python -m tests.security.cross_tenant.one_wall`: a kernel that forgets the tenant in its statements.

What is left between tenants is the second wall, row-level security (ADR 0018).
"""

from __future__ import annotations

import sys
from typing import Any

import sqlalchemy as sa

from objectql.drivers.sql import writes
from objectql.drivers.sql.scope import Scope
from objectql.service.run import run_service
from objectql_kernel.app import build
from objectql_kernel.settings import KernelSettings


def take_out_first_wall() -> None:
    """Leave the condition on the tenant out of every statement on records."""

    def anybody(self: Scope) -> sa.ColumnElement[bool]:  # noqa: ARG001 - what it stands in for
        return sa.true()

    Scope.of_tenant = anybody
    change = writes._change_parts  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def without(*args: Any) -> str:
        text = change(*args)
        assert "r.tenant_id = $2" in text
        return text.replace("r.tenant_id = $2", "$2::text IS NOT NULL")

    writes._change_parts = without  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


if __name__ == "__main__":
    take_out_first_wall()
    sys.exit(run_service(KernelSettings, build))
