"""The bus on NATS; the only importer of nats.

Reading order: `login` (who we are, TLS), `connection` (what is kept over reconnects), `calls` (requests and their answers),
`service` (serving them), `stream` (JetStream).
"""

from __future__ import annotations

from objectql.bus.nats.connection import NatsBus
from objectql.bus.nats.login import Login
from objectql.bus.nats.stream import NatsEventStream

__all__ = ["Login", "NatsBus", "NatsEventStream"]
