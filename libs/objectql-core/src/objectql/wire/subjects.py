"""Every NATS subject, as a function. The only place that joins tokens.

The major version stands in the subject: a new major is served beside the old one for one release.
"""

from __future__ import annotations

from objectql.events import ChangeKind
from objectql.ids import ObjectName, TenantId

KERNEL_QUEUE = "kernel"
RPC_PREFIX = "oql.v1.rpc."
KERNEL_RPC_PREFIX = f"{RPC_PREFIX}kernel"
PARTS_RPC_PREFIX = f"{KERNEL_RPC_PREFIX}.txn"
"""In front of the verbs by which a coordinator has kernels end parts of transactions, and keep
operators' commands in the security log. One token longer than what gateways may call."""
COORDINATOR_RPC_PREFIX = f"{RPC_PREFIX}coordinator"
INBOX_PREFIX = "_INBOX_"
INBOXES = (INBOX_PREFIX, "_INBOX.")
DATA_STREAM = "OQL_DATA"
DATA_SUBJECTS = "oql.v1.evt.data.>"
STREAM_SUBJECTS = "oql.v1.evt.>"
"""Everything that lies in `OQL_DATA`: events, and the holes of a stream that was filled again."""
HOLE = "oql.v1.evt.hole"
FILL_PREFIX = "oql.v1.fill."
"""In front of the subject of a message by which a lost stream is filled again."""
KERNEL_EVENTS = "oql.v1.evt.kernel.>"
HEARTBEATS = "oql.v1.hb.>"
COMMAND_PREFIX = "oql.v1.cmd."
"""In front of what coordinators tell single processes to do."""
AUDIT = "audit"
"""The topic of `kernel_event` on which kernels tell the heads of chains (`wire.audit`)."""
IDENTITY = "identity"
"""The topic of `kernel_event` on which kernels tell what is void (`wire.identity`)."""


def kernel_rpc(verb: str) -> str:
    """Where requests with `verb` are served by the queue group of kernels."""
    return f"{KERNEL_RPC_PREFIX}.{verb}"


def parts_rpc(verb: str) -> str:
    """Where the queue group of kernels serves coordinators."""
    return f"{PARTS_RPC_PREFIX}.{verb}"


def coordinator_rpc(instance: str, verb: str) -> str:
    """Where one coordinator serves kernels.

    Each has a subject of its own: only one leads, and one that is frozen must not be handed what
    another could answer.
    """
    return f"{COORDINATOR_RPC_PREFIX}.{instance}.{verb}"


def rpc_service(subject: str) -> str | None:
    """What `subject` begins with if it is a verb's of a service; None for every other subject."""
    if not subject.startswith(RPC_PREFIX):
        return None
    return subject.rpartition(".")[0]


def rpc_many(service: str) -> str:
    """Where the service takes several requests in one message (`wire.frames.Frame`)."""
    return f"{service}.many"


def rpc_cancel(service: str) -> str:
    """Where every worker of the service hears which requests nobody waits for any more."""
    return f"{service}.cancel"


def inbox(service: str) -> str:
    """What the subjects begin with where `service` hears answers; no other service may listen."""
    return f"{INBOX_PREFIX}{service}"


def is_inbox(subject: str) -> bool:
    """Whether `subject` is where somebody hears answers, and nothing else."""
    return subject.startswith(INBOXES)


def data_event(tenant: TenantId, object_: ObjectName, kind: ChangeKind) -> str:
    """Where change events of one object of one tenant are published."""
    return f"oql.v1.evt.data.{tenant}.{object_}.{kind}"


def data_events(tenant: TenantId) -> str:
    """Where all change events of one tenant are published."""
    return f"oql.v1.evt.data.{tenant}.>"


def kernel_event(topic: str) -> str:
    """Lifecycle, metadata, plugin and driver events; `:` in event names becomes a dot."""
    return f"oql.v1.evt.kernel.{topic.replace(':', '.')}"


def command(service: str, instance: str, verb: str) -> str:
    """Where one process hears what operators want of it (`objectql.service.commands`)."""
    return f"{COMMAND_PREFIX}{service}.{instance}.{verb}"


def heartbeat(service: str, instance: str) -> str:
    """Where one process says that it is alive."""
    return f"oql.v1.hb.{service}.{instance}"
