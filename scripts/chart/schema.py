"""`values.schema.json`: the chart's values, with the settings of each service in their places.

Draft 7, which every version of Helm understands. Helm refuses what does not fit before it sends anything, and says
where, as `at '/kernel/settings/pool': additional properties 'max_sice' not allowed`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from scripts.chart.values import ChartValues

from objectql.service.settings import AuthSettings, ServiceSettings
from objectql.service.settings_schema import ANY_NAME, setting_paths, settings_schema
from objectql.wire.access import BUS_USERS, authorization

SERVICES: Final = {
    "kernel": "kernel",
    "coordinator": "coordinator",
    "gateway-rest": "gatewayRest",
    "gateway-ws": "gatewayWs",
    "gateway-grpc": "gatewayGrpc",
}
"""The services of the chart, by the keys of their values."""

WIRED: Final = frozenset(
    {
        *("instance", "bus", "admin", "failpoints", "metadata", "watch", "rates.processes"),
        *(f"{group}.{name}" for group in ("http", "grpc") for name in ("host", "port")),
        *(f"{group}.{name}" for group in ("http", "grpc") for name in ("certificate", "key")),
        *(f"zookeeper.{name}" for name in ("hosts", "ca", "certificate", "key")),
    }
)
"""What the chart itself tells services, by values of its own; and what has no place in a cluster."""

_PASSWORDS_IN = re.compile(r"^(datasources|replicas)\.|(^|\.)(url|database_server)$")
"""Addresses in which passwords stand."""

_QUOTED_VARIABLE = re.compile(r'"(\$bus_\w+)"')


def from_secret(path: str, *, is_secret: bool) -> bool:
    """Whether a setting comes from a Secret, never from plain values."""
    return is_secret or (_PASSWORDS_IN.search(path) is not None and path != "bus.url")


def chart_schema(types: Mapping[str, type[ServiceSettings]]) -> dict[str, Any]:
    """The schema, where `types` are the settings of services by name."""
    schema = msgspec.json.schema(ChartValues)
    definitions: dict[str, Any] = schema["$defs"]
    root = definitions["ChartValues"]
    root["properties"]["settings"] = _tree(ServiceSettings)
    definitions["Auth"]["properties"]["settings"] = _tree(AuthSettings)
    definitions["Package"] |= {"minProperties": 2, "maxProperties": 2}
    for service, key in SERVICES.items():
        type_ = types.get(service)
        base = definitions[root["properties"][key]["$ref"].rpartition("/")[2]]
        name = key[0].upper() + key[1:] + "Service"
        definitions[name] = base | {
            "title": service,
            "properties": base["properties"]
            | {
                "settings": _tree(type_) if type_ else _NOTHING,
                "secrets": _secrets(type_, base["properties"]["secrets"]) if type_ else _NOTHING,
            },
        }
        root["properties"][key] = {"$ref": f"#/$defs/{name}"}
    return {"$schema": "http://json-schema.org/draft-07/schema#"} | schema


def schema_text(types: Mapping[str, type[ServiceSettings]]) -> str:
    """The file."""
    return json.dumps(chart_schema(types), indent=1) + "\n"


_NOTHING: Final[dict[str, Any]] = {"type": "object", "additionalProperties": False}


def _tree(type_: type[msgspec.Struct]) -> dict[str, Any]:
    groups = {"datasources", "replicas"}
    secret = {path for path, is_it in setting_paths(type_) if from_secret(path, is_secret=is_it)}
    return settings_schema(type_, WIRED | secret | groups)


def _secrets(type_: type[msgspec.Struct], base: dict[str, Any]) -> dict[str, Any]:
    paths = [
        re.escape(path).replace(re.escape(ANY_NAME), "[a-z0-9]+(_[a-z0-9]+)*")
        for path, is_secret in setting_paths(type_)
        if from_secret(path, is_secret=is_secret)
    ]
    return base | {"propertyNames": {"pattern": f"^({'|'.join(sorted(paths))})$"}}


def bus_users() -> str:
    """`files/bus-users.conf`: what each user may say and hear; the passwords are variables."""
    variables = {user.name: "$bus_" + user.name.replace("-", "_") for user in BUS_USERS}
    block = json.dumps(authorization(variables), indent=2)
    return "authorization " + _QUOTED_VARIABLE.sub(r"\1", block) + "\n"
