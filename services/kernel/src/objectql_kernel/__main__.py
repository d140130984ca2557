"""`python -m objectql_kernel`."""

import sys

from objectql.service.run import run_service
from objectql_kernel.app import build
from objectql_kernel.settings import KernelSettings

sys.exit(run_service(KernelSettings, build))
