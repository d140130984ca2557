"""`python -m objectql_coordinator`."""

import sys

from objectql.service.run import run_service
from objectql_coordinator.app import build
from objectql_coordinator.settings import CoordinatorSettings

sys.exit(run_service(CoordinatorSettings, build))
