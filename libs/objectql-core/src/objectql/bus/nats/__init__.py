"""The bus on NATS; the only importer of nats.

Reading order: `connection` (what is kept over reconnects), `calls` (requests and their answers),
`service` (serving them), `stream` (JetStream).
"""

from __future__ import annotations

from objectql.bus.nats.connection import NatsBus
from objectql.bus.nats.stream import NatsEventStream

__all__ = ["NatsBus", "NatsEventStream"]
