"""`python -m objectql_gateway_rest`."""

from __future__ import annotations

import sys

from objectql.service.run import run_service
from objectql_gateway_rest.app import build
from objectql_gateway_rest.settings import GatewayRestSettings

if __name__ == "__main__":
    sys.exit(run_service(GatewayRestSettings, build))
