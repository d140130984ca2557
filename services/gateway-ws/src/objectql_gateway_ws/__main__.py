"""`python -m objectql_gateway_ws`."""

from __future__ import annotations

import sys

from objectql.service.run import run_service
from objectql_gateway_ws.app import build
from objectql_gateway_ws.settings import GatewayWsSettings

if __name__ == "__main__":
    sys.exit(run_service(GatewayWsSettings, build))
