"""`python -m objectql_gateway_grpc`, also as the command `objectql-gateway-grpc`."""

from __future__ import annotations

import sys

from objectql.service.run import run_service
from objectql_gateway_grpc.app import build
from objectql_gateway_grpc.settings import GatewayGrpcSettings


def main() -> int:
    """Run the gateway; the exit code."""
    return run_service(GatewayGrpcSettings, build)


if __name__ == "__main__":
    sys.exit(main())
