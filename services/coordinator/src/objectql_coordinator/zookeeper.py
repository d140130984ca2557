"""ZooKeeper from an event loop; the only importer of kazoo.

kazoo runs threads of its own. Everything that comes from them is handed to the loop, and ZooKeeper
is never called from a state listener, which would deadlock it (kazoo issue 356).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# kazoo has no type information.

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, cast

from kazoo import exceptions as kazoo_errors  # noqa: TID251 - home of kazoo
from kazoo.client import KazooClient  # noqa: TID251
from kazoo.handlers.threading import SequentialThreadingHandler  # noqa: TID251
from kazoo.protocol.states import KazooState  # noqa: TID251
from kazoo.retry import KazooRetry  # noqa: TID251
from kazoo.security import make_digest_acl  # noqa: TID251

from objectql_coordinator.election import Connected, Event, Lost, Suspended


class ZooKeeperFailed(Exception):
    """An operation did not succeed; whether it took effect is unknown if the connection broke."""


class NodeMissing(ZooKeeperFailed):
    """The node is not there."""


class NodeTaken(ZooKeeperFailed):
    """The node is there already."""


class VersionChanged(ZooKeeperFailed):
    """A node does not have the version that the write depends on."""


class Node(NamedTuple):
    """A node's content and version."""

    value: bytes
    version: int


class Access(NamedTuple):
    """How a client proves who it is, and has the server prove it.

    With `ca` nothing is said to a server whose certificate it has not signed for this host;
    `certificate` and `key` are files of our own. With a `user`, nodes are made for that user alone.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    user: str | None = None
    password: str | None = None

    def options(self) -> dict[str, Any]:
        """For `KazooClient`."""
        given: dict[str, Any] = {}
        if self.ca is not None:
            given = {
                "use_ssl": True,
                "check_hostname": True,
                "ca": self.ca,
                "certfile": self.certificate,
                "keyfile": self.key,
            }
        if self.user is not None:
            given["auth_data"] = [("digest", f"{self.user}:{self.password}")]
            given["default_acl"] = [make_digest_acl(self.user, self.password, all=True)]
        return given


class ZooKeeper:
    """One session after the other, kept for as long as the process lives.

    `on_state` hears of every change of the connection, on the loop, in order.
    """

    def __init__(
        self,
        hosts: str,
        *,
        session_timeout_s: float,
        on_state: Callable[[Event], None],
        access: Access | None = None,
    ) -> None:
        handler = SequentialThreadingHandler()
        retry = KazooRetry(
            max_tries=-1, delay=0.1, backoff=2, max_delay=1.0, sleep_func=handler.sleep_func
        )
        self._client = KazooClient(
            hosts,
            timeout=session_timeout_s,
            handler=handler,
            connection_retry=retry,
            **(access or Access()).options(),
        )
        self._client.add_listener(self._changed)
        self._on_state = on_state
        self._timeout_s = session_timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to connect, and to reconnect forever, in the background."""
        self._loop = asyncio.get_running_loop()
        self._client.start_async()

    async def stop(self) -> None:
        """End the session, so that its ephemeral nodes go at once."""
        await asyncio.to_thread(self._stop)

    def _stop(self) -> None:
        self._client.stop()
        self._client.close()

    def _changed(self, state: str) -> None:
        """Runs in a thread of kazoo: look at nothing but what is at hand, and hand it over."""
        if state == KazooState.CONNECTED:
            event: Event = Connected(cast("tuple[int, bytes]", self._client.client_id)[0])
        elif state == KazooState.SUSPENDED:
            event = Suspended()
        else:
            event = Lost()
        self._hand_over(self._on_state, event)

    def _hand_over(self, function: Callable[..., None], *arguments: object) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(function, *arguments)

    # --- operations ----------------------------------------------------------------------

    async def ensure(self, path: str) -> None:
        """Make `path` and its parents, where they are missing."""
        await self._await(self._client.ensure_path_async(path))

    async def children(self, path: str, on_change: Callable[[], None] | None = None) -> list[str]:
        """Names of the nodes below `path`; `on_change` is called once when they change."""

        def changed(_: object) -> None:
            if on_change is not None:
                self._hand_over(on_change)

        watch = None if on_change is None else changed
        return list(await self._await(self._client.get_children_async(path, watch=watch)))

    async def read(self, path: str) -> Node:
        """The node at `path`."""
        value, stat = await self._await(self._client.get_async(path))
        return Node(value, stat.version)

    async def sync(self, path: str) -> None:
        """Let later reads of this session see all that was written before this call, by anybody."""
        await self._await(self._client.sync_async(path))

    async def delete(self, path: str) -> None:
        """Delete a node; it may be gone already."""
        with suppress(NodeMissing):
            await self._await(self._client.delete_async(path))

    async def create(
        self, path: str, value: bytes, *, ephemeral: bool = False, sequence: bool = False
    ) -> str:
        """Make a node; its path, with its number where it is a sequential one."""
        made = self._client.create_async(path, value, ephemeral=ephemeral, sequence=sequence)
        return str(await self._await(made))

    async def write_if(self, path: str, value: bytes, *, version: int, exists: str) -> int:
        """Write `path` if it has `version` and `exists` is there; the new version.

        Raises:
            VersionChanged: one of the two does not hold; nothing was written.

        """
        txn = self._client.transaction()
        txn.check(exists, -1)
        txn.set_data(path, value, version=version)
        results = await self._await(txn.commit_async())
        self._raise_refusal(results)
        return int(results[1].version)

    async def create_fenced(self, path: str, value: bytes, *, epoch_path: str, epoch: int) -> None:
        """Make the node `path`, provided that `epoch` is still the current one.

        Raises:
            VersionChanged: a later leader has claimed an epoch; nothing was written.
            NodeTaken: the node exists: it is written once.

        """
        txn = self._client.transaction()
        txn.check(epoch_path, epoch)
        txn.create(path, value)
        self._raise_refusal(await self._await(txn.commit_async()))

    def _raise_refusal(self, results: list[Any]) -> None:
        """Raise for the operation that made a transaction fail; the others only say "rolled back"."""
        failures = [result for result in results if isinstance(result, Exception)]
        for failure in failures:
            if isinstance(failure, kazoo_errors.BadVersionError | kazoo_errors.NoNodeError):
                raise VersionChanged(repr(failure)) from failure
            if isinstance(failure, kazoo_errors.NodeExistsError):
                raise NodeTaken(repr(failure)) from failure
        if failures:
            raise ZooKeeperFailed(repr(failures))

    async def _await(self, result: Any) -> Any:
        """What a result of kazoo comes to, its errors as ours, within the session's timeout."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle() -> None:
            if not future.done():
                if result.successful():
                    future.set_result(result.value)
                else:
                    future.set_exception(result.exception)

        def settled(_: object) -> None:
            self._hand_over(settle)

        result.rawlink(settled)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await future
        except kazoo_errors.NoNodeError as exc:
            raise NodeMissing(str(exc)) from exc
        except kazoo_errors.NodeExistsError as exc:
            raise NodeTaken(str(exc)) from exc
        except (kazoo_errors.KazooException, TimeoutError) as exc:
            raise ZooKeeperFailed(repr(exc)) from exc
