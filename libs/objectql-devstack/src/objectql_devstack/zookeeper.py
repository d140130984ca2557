"""ZooKeeper: one node, or several that form an ensemble."""

from __future__ import annotations

from pathlib import Path

from objectql_devstack import programs
from objectql_devstack.probes import serves_zookeeper
from objectql_devstack.servers import LOOPBACK, NativeServer, Terms
from objectql_devstack.state import StateDirectory

# Small and quick to start; sessions may be as short as a second, so that failover is quick too.
_JVM = ("-Xmx128m", "-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_SETTINGS = """\
tickTime=500
initLimit=20
syncLimit=10
minSessionTimeout=1000
maxClientCnxns=0
admin.enableServer=false
4lw.commands.whitelist=*
autopurge.snapRetainCount=3
autopurge.purgeInterval=1
"""


class ZooKeeperNode(NativeServer):
    """Node `index` (from 1) of `nodes`; its endpoint is `host:port`."""

    def __init__(self, state: StateDirectory, index: int, nodes: int, terms: Terms) -> None:
        super().__init__(state, f"zookeeper-{index}", terms)
        self._index = index
        self._nodes = nodes

    @property
    def endpoint(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def settle_ports(self, *, alive: bool, keep: bool) -> None:
        """Ports of an ensemble stand in the configuration of every node: once chosen they stay."""
        super().settle_ports(
            alive=alive, keep=keep or (self._nodes > 1 and self._configuration.exists())
        )

    def command(self) -> tuple[str, ...]:
        level = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        jars = programs.zookeeper_classpath()
        return (programs.java(), *_JVM, level, "-cp", jars, main, str(self._configuration))

    def prepare(self) -> None:
        super().prepare()
        lines = [
            _SETTINGS,
            f"forceSync={'yes' if self.terms.durable else 'no'}\n",
            f"dataDir={self.data}\n",
            f"clientPort={self.port}\nclientPortAddress={LOOPBACK}\n",
        ]
        if self._nodes > 1:
            (self.data / "myid").write_text(f"{self._index}\n")
            for peer in range(1, self._nodes + 1):
                links = [self._peer_port(peer, purpose) for purpose in ("peer", "election")]
                lines.append(f"server.{peer}={LOOPBACK}:{links[0]}:{links[1]}\n")
        self._configuration.write_text("".join(lines))

    def is_ready(self) -> bool:
        return serves_zookeeper(LOOPBACK, self.port)

    @property
    def _configuration(self) -> Path:
        return self.data / "zoo.cfg"

    def _peer_port(self, peer: int, purpose: str) -> int:
        # Whether it is free cannot be asked: the peer may listen on it already.
        return self.state.port(f"zookeeper-{peer}/{purpose}", in_use=True)
