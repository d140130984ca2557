"""Writes what the code itself can tell into the documentation: `make reference`.

Whole files (`docs/reference/settings.md`, the JavaScript client's list of codes, what the chart is checked by) and tables between
`<!-- generated: name -->` and `<!-- end -->` in guides and in the list of attacks.
`tests/test_reference.py` fails where a file is not current.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from scripts.chart import manifests, schema
from scripts.chart.engine import CHART
from tests.security import mutations

from objectql.errors import ObjectQLError, RemoteError
from objectql.metadata.types import FIELD_TYPES, TYPE_ALIASES
from objectql.plugins.hooks import EVENTS
from objectql.service.settings import ServiceSettings, settings_markdown
from objectql.service.telemetry import METRICS
from objectql.wire.access import BUS_USERS
from objectql_coordinator.settings import CoordinatorSettings
from objectql_devstack.services import SERVICES
from objectql_gateway_grpc.settings import GatewayGrpcSettings
from objectql_gateway_rest.settings import GatewayRestSettings
from objectql_gateway_ws.settings import GatewayWsSettings
from objectql_kernel.settings import KernelSettings

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = ROOT / "docs" / "reference" / "settings.md"
CODES = ROOT / "clients" / "javascript" / "src" / "codes.ts"
VALUES_SCHEMA = CHART / "values.schema.json"
BUS_USERS_FILE = CHART / "files" / "bus-users.conf"
GUIDES = ROOT / "docs" / "guides"
ATTACKS = ROOT / "tests" / "security" / "README.md"

SERVICE_SETTINGS: tuple[type[ServiceSettings], ...] = (
    KernelSettings,
    GatewayRestSettings,
    GatewayWsSettings,
    GatewayGrpcSettings,
    CoordinatorSettings,
)

_ABOUT_SETTINGS = """\
# Settings

Written by `make reference`; change the settings structs instead.

A variable is the service's prefix and the path of the setting, groups apart by `__`. With `_FILE` behind its name a variable
names a file that holds the value. Lists are separated by commas. An unknown variable with a service's prefix stops the
start. `python -m <module> --check-config` prints what a process would use, without secrets. `OTEL_*` is left to
OpenTelemetry.
"""

_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def settings_reference() -> str:
    """Every variable of every service."""
    parts = [_ABOUT_SETTINGS]
    for type_ in SERVICE_SETTINGS:
        table = settings_markdown(type_, type_.prefix())
        parts.append(f"## {type_.service}\n\n{table}")
    return "\n".join(parts)


def retryable_codes() -> str:
    """A set of TypeScript: the errors after which the same request may be sent again."""
    leaves = (leaf for leaf in ObjectQLError.leaves() if leaf is not RemoteError)
    codes = sorted(leaf.code for leaf in leaves if leaf.__new__(leaf).retryable)
    lines = "".join(f'  "{code}",\n' for code in codes)
    return (
        "/** Written by `make reference`: the codes of errors after which the same request may be sent again. */\n"
        f"export const RETRYABLE: ReadonlySet<string> = new Set([\n{lines}]);\n"
    )


def field_types() -> str:
    """Every field type with its storage and the keys that it accepts beside the common ones."""
    spelled = {name: [a for a, to in TYPE_ALIASES.items() if to == name] for name in FIELD_TYPES}
    rows = ["| Type | Also written | Stored as | Further keys |", "|---|---|---|---|"]
    for name, info in FIELD_TYPES.items():
        notes = [
            word
            for word, on in (("computed", info.computed), ("write-only", info.write_only))
            if on
        ]
        stored = ", ".join([str(info.storage), *notes])
        keys = " ".join(f"`{key}`" for key in sorted(info.keys))
        rows.append(
            f"| `{name}` | {' '.join(f'`{a}`' for a in spelled[name])} | {stored} | {keys} |"
        )
    return "\n".join(rows) + "\n"


def hook_points() -> str:
    """Every hook point."""
    return "\n".join(f"- `{event}`" for event in EVENTS) + "\n"


def metrics() -> str:
    """Every metric that the services have in common."""
    rows = ["| Metric | Kind | Labels | Meaning |", "|---|---|---|---|"]
    for metric in METRICS:
        labels = " ".join(f"`{label}`" for label in metric.labels)
        rows.append(f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |")
    return "\n".join(rows) + "\n"


def ports() -> str:
    """The ports of `make up` and the variables that change them."""
    rows = ["| Service | Processes | Port of the first | Changed by | Address in `dev.env` |"]
    rows.append("|---|---|---|---|---|")
    for service in SERVICES:
        if not service.is_installed:
            continue
        public = service.public
        told = (
            f"{public.default} | `{public.variable}` | `{public.address[0]}`"
            if public
            else "none | | "
        )
        rows.append(f"| {service.name} | {service.count} | {told} |")
    return "\n".join(rows) + "\n"


def bus_users() -> str:
    """What each user of NATS may say and hear."""
    rows = ["| User | May publish on | May hear |", "|---|---|---|"]
    for user in BUS_USERS:
        publish, subscribe = (
            "<br>".join(f"`{subject}`" for subject in subjects)
            for subjects in (user.publish, user.subscribe)
        )
        rows.append(f"| `{user.name}` | {publish} | {subscribe} |")
    return "\n".join(rows) + "\n"


PARTS: dict[str, Callable[[], str]] = {
    "bus_users": bus_users,
    "field_types": field_types,
    "hook_points": hook_points,
    "metrics": metrics,
    "ports": ports,
    **{f"guards_{name}": partial(mutations.table, name) for name in mutations.sections()},
}


def values_schema() -> str:
    """What Helm checks values of the chart by."""
    return schema.schema_text({type_.service: type_ for type_ in SERVICE_SETTINGS})


WHOLE: dict[Path, Callable[[], str]] = {
    SETTINGS: settings_reference,
    CODES: retryable_codes,
    VALUES_SCHEMA: values_schema,
    BUS_USERS_FILE: schema.bus_users,
}
"""Written in this order; the plain manifests of `deploy/k8s` come last, since Helm renders them by these."""


def current(path: Path) -> str:
    """What `path` should hold."""
    if path in WHOLE:
        return WHOLE[path]()

    def fill(found: re.Match[str]) -> str:
        return f"{found[1]}{PARTS[found[2]]()}{found[3]}"

    return _PART.sub(fill, path.read_text())


def files() -> list[Path]:
    """Every file that is written, or has parts that are."""
    return [*WHOLE, ATTACKS, *sorted(GUIDES.glob("*.md"))]


def main() -> None:
    """Bring every file up to date."""
    for path in files():
        text = current(path)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    for path in manifests.write():
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
