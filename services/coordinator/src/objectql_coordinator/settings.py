"""What a coordinator is told."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Meta

from objectql.service.settings import AuthSettings, HttpSettings, Secret, ServiceSettings

Failpoint: TypeAlias = Literal["before_decision", "after_record"]


class ZooKeeperSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where ZooKeeper is."""

    hosts: Annotated[str, Meta(description="host:port, separated by commas")] = "127.0.0.1:2181"
    root: Annotated[
        str, Meta(pattern=r"^/[A-Za-z0-9_/-]+$", description="node under which all others lie")
    ] = "/objectql"
    session_timeout_s: Annotated[
        float, Meta(ge=1, le=60, description="a silent coordinator is dead after this long")
    ] = 3.0
    ca: Annotated[
        str | None, Meta(description="path of the authority that signs its certificate; needs TLS")
    ] = None
    certificate: Annotated[str | None, Meta(description="path of our own, where it asks")] = None
    key: Annotated[str | None, Meta(description="path of its key")] = None
    user: Annotated[
        str | None, Meta(description="whose nodes ours are; nobody else reads or writes them")
    ] = None
    password: Secret | None = None

    def __post_init__(self) -> None:
        """Refuse half of a proof."""
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        if self.certificate is not None and self.ca is None:
            raise ValueError("a certificate needs a ca")


class CoordinatorSettings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of one coordinator process."""

    service: ClassVar[str] = "coordinator"

    zookeeper: ZooKeeperSettings = ZooKeeperSettings()
    http: HttpSettings = HttpSettings(port=8090)
    auth: AuthSettings = AuthSettings()
    recovery_every_s: Annotated[
        float,
        Meta(gt=0, le=60, description="how often parts of transactions are looked for that wait"),
    ] = 1.0
    failpoints: Annotated[
        tuple[Failpoint, ...], Meta(description="die at these points; for fault tests")
    ] = ()
