"""Data services that somebody else runs: their addresses from the environment, checked before use."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from objectql_devstack.environment import setting
from objectql_devstack.errors import DevStackError
from objectql_devstack.pgwire import answers_postgres
from objectql_devstack.probes import answers_nats, answers_redis, serves_zookeeper
from objectql_devstack.processes import wait_until

_REACHABLE_WITHIN_S = 5.0


def _postgres(host: str, port: int) -> bool:
    return answers_postgres(port, host=host)


# service -> (variable of its address, default port, question that tells whether it answers)
QUESTIONS: dict[str, tuple[str, int, Callable[[str, int], bool]]] = {
    "nats": ("OQL_NATS_URL", 4222, answers_nats),
    "postgres": ("OQL_PG_URL", 5432, _postgres),
    "postgres-replica": ("OQL_PG_REPLICA_URL", 5432, _postgres),
    "redis": ("OQL_REDIS_URL", 6379, answers_redis),
    "zookeeper": ("OQL_ZOOKEEPER", 2181, serves_zookeeper),
}


class ExternalServer:
    """One service that is only looked at; it cannot be stopped, killed or frozen from here."""

    def __init__(self, service: str) -> None:
        self.name = f"{service}-1"
        self._variable, self._default_port, self._question = QUESTIONS[service]

    @property
    def endpoint(self) -> str:
        """The address as it stands in the environment.

        Raises:
            DevStackError: It stands nowhere.
        """
        address = setting(self._variable)
        if not address:
            raise DevStackError(
                f"OQL_STACK=external needs {self._variable}, the address of {self.name}"
            )
        return address

    def start(self, *, keep_port: bool = False) -> None:
        """Check that it can be reached.

        Raises:
            DevStackError: It cannot.
        """
        del keep_port  # the port is not ours to choose
        if not wait_until(self.is_ready, _REACHABLE_WITHIN_S, poll_s=0.1):
            raise DevStackError(
                f"{self.name} does not answer at {self._redacted()} "
                f"({self._variable}) within {_REACHABLE_WITHIN_S:g} s: is it running?"
            )

    def is_ready(self) -> bool:
        """Whether every address given answers."""
        return all(self._question(host, port) for host, port in self._addresses())

    def stop(self) -> None:
        """Leave it as it is."""

    def kill(self) -> None:
        """Refuse, as the other faults do."""
        self._refuse()

    def freeze(self) -> None:
        """Refuse."""
        self._refuse()

    def thaw(self) -> None:
        """Refuse."""
        self._refuse()

    def _refuse(self) -> None:
        raise DevStackError(
            f"{self.name} is external: faults can only be made in servers started here"
        )

    def _addresses(self) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        for word in self.endpoint.split(","):
            try:
                parts = urlsplit(word if "//" in word else f"//{word}")
                found.append((parts.hostname or "127.0.0.1", parts.port or self._default_port))
            except ValueError as wrong:
                raise DevStackError(f"{self._variable} is not an address: {wrong}") from wrong
        return found

    def _redacted(self) -> str:
        return ",".join(f"{host}:{port}" for host, port in self._addresses())
