"""ZooKeeper over TLS that both sides prove themselves in, and nodes that are nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.certificates import Authority

from objectql_coordinator.election import Connected, Event
from objectql_coordinator.zookeeper import Access, ZooKeeper, ZooKeeperFailed
from objectql_devstack import programs
from objectql_devstack.servers import LOOPBACK, Terms
from objectql_devstack.state import StateDirectory
from objectql_devstack.zookeeper import ZooKeeperNode

pytestmark = [
    pytest.mark.servers,
    # kazoo lets go of the socket of a failed handshake without closing it
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
]

SECURE = """\
secureClientPort={port}
secureClientPortAddress={host}
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
ssl.keyStore.location={keystore}
ssl.trustStore.location={ca}
ssl.clientAuth=need
"""


NETTY = Path("/usr/share/java/netty-codec.jar")
"""Comes with Debian's ZooKeeper, whose jar names only the parts that it needs without TLS."""


class SecureNode(ZooKeeperNode):
    """A node that also listens where both sides show certificates."""

    def __init__(self, state: StateDirectory, terms: Terms, authority: Authority) -> None:
        super().__init__(state, 1, 1, terms)
        self.secure_port = state.port("zookeeper-secure", in_use=False)
        self._authority = authority

    def command(self) -> tuple[str, ...]:
        jars = programs.zookeeper_classpath()
        return tuple(f"{jars}:{NETTY}" if word == jars else word for word in super().command())

    def prepare(self) -> None:
        super().prepare()
        own = self._authority.issue("zookeeper")
        keystore = self.data / "own.pem"
        keystore.write_bytes(own.key.read_bytes() + own.certificate.read_bytes())
        more = SECURE.format(
            port=self.secure_port, host=LOOPBACK, keystore=keystore, ca=self._authority.ca
        )
        with (self.data / "zoo.cfg").open("a") as file:
            file.write(more)


@asynccontextmanager
async def session(hosts: str, access: Access) -> AsyncGenerator[tuple[ZooKeeper, asyncio.Event]]:
    """A client, and the event of its first connection."""
    connected = asyncio.Event()

    def tell(event: Event) -> None:
        if isinstance(event, Connected):
            connected.set()

    client = ZooKeeper(hosts, session_timeout_s=4.0, on_state=tell, access=access)
    client.start()
    try:
        yield client, connected
    finally:
        await client.stop()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def node(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureNode]:
    state = StateDirectory(tmp_path_factory.mktemp("secure"))
    running = SecureNode(state, Terms(tethered=True, durable=False), authority)
    running.start()
    yield running
    running.stop()


async def test_both_sides_prove_themselves_with_certificates(
    node: SecureNode, authority: Authority, tmp_path: Path
) -> None:
    hosts = f"{LOOPBACK}:{node.secure_port}"
    own = authority.issue("coordinator")
    trusted = Access(str(authority.ca), str(own.certificate), str(own.key))
    async with session(hosts, trusted) as (client, connected):
        await asyncio.wait_for(connected.wait(), 20)
        await client.ensure("/encrypted")
    stranger = Authority(tmp_path)
    foreign = stranger.issue("coordinator")
    for access in (
        Access(str(stranger.ca), str(own.certificate), str(own.key)),  # not our server
        Access(str(authority.ca), str(foreign.certificate), str(foreign.key)),  # not its client
        Access(str(authority.ca)),
        Access(),
    ):
        async with session(hosts, access) as (_, connected):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(connected.wait(), 2)


async def test_nodes_of_a_user_are_nobody_elses(node: SecureNode) -> None:
    ours = Access(user="objectql", password="a long secret")
    async with session(node.endpoint, ours) as (client, connected):
        await asyncio.wait_for(connected.wait(), 20)
        await client.ensure("/ours")
        await client.read("/ours")
        for other in (Access(), Access(user="objectql", password="another")):
            async with session(node.endpoint, other) as (stranger, known):
                await asyncio.wait_for(known.wait(), 20)
                with pytest.raises(ZooKeeperFailed):
                    await stranger.read("/ours")
