"""What a coordinator is told."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from objectql.service.settings import HttpSettings, ServiceSettings


class ZooKeeperSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where ZooKeeper is."""

    hosts: Annotated[str, Meta(description="host:port, separated by commas")] = "127.0.0.1:2181"
    root: Annotated[
        str, Meta(pattern=r"^/[A-Za-z0-9_/-]+$", description="node under which all others lie")
    ] = "/objectql"
    session_timeout_s: Annotated[
        float, Meta(ge=1, le=60, description="a silent coordinator is dead after this long")
    ] = 3.0


class CoordinatorSettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of one coordinator process."""

    service: ClassVar[str] = "coordinator"

    zookeeper: ZooKeeperSettings = ZooKeeperSettings()
    http: HttpSettings = HttpSettings(port=8090)
