"""Who may send and hear what on NATS: the one table, and the server configuration made of it.

The server enforces it, so a process without a service's password can neither call, nor answer, nor
listen, whatever it knows. `docs/adr/0021` tells why each row is as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from objectql.wire.subjects import (
    COMMAND_PREFIX,
    COORDINATOR_RPC_PREFIX,
    DATA_STREAM,
    DATA_SUBJECTS,
    FILL_PREFIX,
    HEARTBEATS,
    KERNEL_EVENTS,
    KERNEL_QUEUE,
    KERNEL_RPC_PREFIX,
    PARTS_RPC_PREFIX,
    command,
    heartbeat,
    inbox,
    rpc_cancel,
)

OPERATOR = "operator"
"""Who looks: hears events and heartbeats, reads the stream, pings services; cannot call one."""

DEFAULT_INBOX = "_INBOX"
"""Where the tools and libraries of NATS hear their answers unless told otherwise."""

_SERVICE_QUESTIONS = "$SRV.>"


class BusUser(msgspec.Struct, frozen=True):
    """One row: everything that is not listed is refused.

    A subject to listen to may be followed by a queue group: then only as a member of it.
    """

    name: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def _service(name: str, publish: tuple[str, ...], subscribe: tuple[str, ...]) -> BusUser:
    """A service: its own heartbeats, commands to it, and answers that no other service can hear."""
    heard = (*subscribe, command(name, "*", "*"), f"{inbox(name)}.>")
    return BusUser(name, (*publish, heartbeat(name, "*")), heard)


def _inboxes(*names: str) -> tuple[str, ...]:
    return tuple(f"{inbox(name)}.>" for name in names)


_GATEWAYS = ("gateway-rest", "gateway-ws", "gateway-grpc")
_CALLS = (f"{KERNEL_RPC_PREFIX}.*",)
_READS_STREAM = (
    f"$JS.API.STREAM.INFO.{DATA_STREAM}",
    f"$JS.API.CONSUMER.CREATE.{DATA_STREAM}",
    f"$JS.API.CONSUMER.CREATE.{DATA_STREAM}.>",
    f"$JS.API.CONSUMER.INFO.{DATA_STREAM}.*",
    f"$JS.API.CONSUMER.DELETE.{DATA_STREAM}.*",
    f"$JS.API.CONSUMER.MSG.NEXT.{DATA_STREAM}.*",
    f"$JS.ACK.{DATA_STREAM}.>",
    f"$JS.FC.{DATA_STREAM}.>",
)

BUS_USERS: tuple[BusUser, ...] = (
    _service("gateway-rest", _CALLS, (KERNEL_EVENTS,)),
    _service("gateway-ws", (*_CALLS, *_READS_STREAM), (KERNEL_EVENTS, DATA_SUBJECTS)),
    _service("gateway-grpc", (*_CALLS, *_READS_STREAM), (KERNEL_EVENTS, DATA_SUBJECTS)),
    _service(
        "kernel",
        (
            DATA_SUBJECTS,
            f"{FILL_PREFIX}>",
            KERNEL_EVENTS,
            f"$JS.API.STREAM.INFO.{DATA_STREAM}",
            f"$JS.API.STREAM.CREATE.{DATA_STREAM}",
            f"$JS.API.STREAM.UPDATE.{DATA_STREAM}",
            f"{COORDINATOR_RPC_PREFIX}.>",
            *_inboxes(*_GATEWAYS, "coordinator"),
            f"{DEFAULT_INBOX}.>",  # those who ask `$SRV`
        ),
        (
            f"{KERNEL_RPC_PREFIX}.> {KERNEL_QUEUE}",
            rpc_cancel(KERNEL_RPC_PREFIX),
            rpc_cancel(PARTS_RPC_PREFIX),
            heartbeat("coordinator", "*"),
            KERNEL_EVENTS,
            _SERVICE_QUESTIONS,
        ),
    ),
    _service(
        "coordinator",
        (
            f"{PARTS_RPC_PREFIX}.*",
            f"{COMMAND_PREFIX}>",
            *_inboxes("kernel"),
            f"{DEFAULT_INBOX}.>",
        ),
        (
            f"{COORDINATOR_RPC_PREFIX}.> coordinator",
            rpc_cancel(f"{COORDINATOR_RPC_PREFIX}.*"),
            KERNEL_EVENTS,
            HEARTBEATS,
            _SERVICE_QUESTIONS,
        ),
    ),
    BusUser(
        OPERATOR,
        (
            _SERVICE_QUESTIONS,
            "$JS.API.INFO",
            "$JS.API.STREAM.NAMES",
            "$JS.API.STREAM.LIST",
            f"$JS.API.STREAM.MSG.GET.{DATA_STREAM}",
            f"$JS.API.STREAM.PURGE.{DATA_STREAM}",
            f"$JS.API.STREAM.DELETE.{DATA_STREAM}",
            f"$JS.API.CONSUMER.LIST.{DATA_STREAM}",
            f"$JS.API.CONSUMER.NAMES.{DATA_STREAM}",
            *_READS_STREAM,
        ),
        (DATA_SUBJECTS, KERNEL_EVENTS, HEARTBEATS, f"{DEFAULT_INBOX}.>"),
    ),
)


def authorization(passwords: Mapping[str, str]) -> dict[str, Any]:
    """The block `authorization` of a NATS server's configuration, where JSON is allowed.

    `passwords` has one per user of `BUS_USERS`; a service that is not run may be left out.
    """
    return {
        "users": [
            {
                "user": user.name,
                "password": passwords[user.name],
                "permissions": {
                    "publish": {"allow": list(user.publish)},
                    "subscribe": {"allow": list(user.subscribe)},
                },
            }
            for user in BUS_USERS
            if user.name in passwords
        ]
    }
