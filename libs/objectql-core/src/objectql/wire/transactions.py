"""Messages about transactions over several data sources.

Kernels ask the coordinator that leads (`subjects.coordinator_rpc`): `decide`, `finished`,
`decision`. It asks kernels (`subjects.parts_rpc`): `sources`, `prepared`, `finish`. Everybody asks
kernels for the state of a transaction: `transaction`.

Kernels and coordinators of different versions meet in every upgrade, and decisions stay in the log
for longer than that, so fields are only added, behind the others and with defaults.
"""

from __future__ import annotations

import msgspec

from objectql.ids import DataSource, TenantId
from objectql.txn.names import UNNAMED_KERNEL, Outcome, PartName
from objectql.txn.protocol import State


class _Message(msgspec.Struct, frozen=True, omit_defaults=True):
    pass


class Decision(_Message, frozen=True):
    """What the log keeps of a transaction; all its parts are named by it."""

    outcome: Outcome
    id: str
    tenant: TenantId
    epoch: int
    deadline_ms: int
    sources: tuple[DataSource, ...]
    at_ms: int = 0
    """When it was decided (Unix), by the leader's clock."""
    kernel: str = UNNAMED_KERNEL

    def part(self, source: DataSource) -> PartName:
        """The name of the part in `source`."""
        return PartName(self.epoch, self.deadline_ms, self.kernel, self.id, self.tenant, source)


class DecideRequest(_Message, frozen=True):
    """Verb `decide`: all parts are prepared. May be repeated; the first decision stands."""

    id: str
    tenant: TenantId
    epoch: int
    deadline_ms: int
    sources: tuple[DataSource, ...]
    kernel: str = UNNAMED_KERNEL


class DecideReply(_Message, frozen=True):
    """What is in the log."""

    outcome: Outcome


class FinishedRequest(_Message, frozen=True):
    """Verb `finished`: all parts of these have committed, so nobody needs their decisions."""

    ids: tuple[str, ...]


class DecisionRequest(_Message, frozen=True):
    """Verb `decision`: what was decided, if that is still in the log."""

    id: str


class DecisionReply(_Message, frozen=True):
    """None: undecided, or forgotten."""

    decision: Decision | None = None


class SourcesRequest(_Message, frozen=True):
    """Verb `sources`: the data sources of a kernel."""


class SourcesReply(_Message, frozen=True):
    sources: tuple[DataSource, ...]


class PreparedRequest(_Message, frozen=True):
    """Verb `prepared`: the names of all parts that are prepared in a source and its places."""

    source: DataSource


class PreparedReply(_Message, frozen=True):
    names: tuple[str, ...]


class FinishRequest(_Message, frozen=True):
    """Verb `finish`: end a part by the decision of its transaction. May be repeated."""

    name: str
    outcome: Outcome


class FinishReply(_Message, frozen=True):
    """`is_finished` false: it was to be committed and has left no trace. That is a bug.

    `was_there` says that this request has ended it, and none before.
    """

    is_finished: bool
    was_there: bool = False


class Done(_Message, frozen=True):
    """The answer that says nothing else."""


class TransactionRequest(_Message, frozen=True):
    """Verb `transaction`: how a transaction of the caller's tenant stands."""

    id: str


class TransactionReply(_Message, frozen=True):
    id: str
    state: State
    sources: tuple[DataSource, ...] = ()
