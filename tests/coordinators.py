"""Coordinator processes for the tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import jwt

from objectql_devstack import DataStack
from objectql_devstack.ports import free_port

SECRET = "a secret of tokens that nobody else has"  # noqa: S105 - of the tests

SESSION_S = 2.0
"""Of their sessions with ZooKeeper."""


class Coordinator:
    """One process; its pages are read over HTTP.

    `zookeeper` is where it finds that, by default where it is; its log is appended to `log`.
    """

    def __init__(
        self, name: str, stack: DataStack, *, log: Path, zookeeper: str | None = None
    ) -> None:
        self.name = name
        self._log = log
        self.port = free_port()
        self._environ = {
            "PATH": os.environ["PATH"],  # noqa: TID251 - the child needs a path
            "OQL_COORDINATOR_INSTANCE": name,
            "OQL_COORDINATOR_BUS__URL": stack.nats_url,
            "OQL_COORDINATOR_ZOOKEEPER__HOSTS": zookeeper or stack.zookeeper,
            "OQL_COORDINATOR_ZOOKEEPER__SESSION_TIMEOUT_S": str(SESSION_S),
            "OQL_COORDINATOR_HTTP__PORT": str(self.port),
            "OQL_COORDINATOR_AUTH__JWT_SECRET": SECRET,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "objectql_coordinator"],
                env=self._environ,
                stdout=log,
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self) -> int:
        assert self._process is not None
        return self._process.wait(timeout=30)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def led(self) -> list[int]:
        """The epochs in which it has led, by its log."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line[:1] == "{"]
        return [line["epoch"] for line in lines if line["event"] == "leading"]

    def command(self, path: str, *roles: str) -> tuple[int, dict[str, Any]]:
        """Status and document of a POST, as who has `roles`; without any, as nobody."""
        claims = {"sub": "op", "roles": list(roles), "exp": int(time.time()) + 600}
        token = jwt.encode(claims, SECRET, algorithm="HS256")
        headers = {"Authorization": f"Bearer {token}"} if roles else {}
        answer = httpx.post(f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=10)
        return answer.status_code, answer.json()

    def view(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/cluster"
        with urllib.request.urlopen(url, timeout=2) as answer:
            return json.load(answer)


def wait_for(what: Callable[[], Any], within_s: float) -> Any:
    """What `what` returns, as soon as it is true."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        with suppress(OSError):
            if found := what():
                return found
    raise AssertionError(f"not within {within_s} s")


def common_leader(coordinators: list[Coordinator]) -> str | None:
    """The leader, once all agree on one and on its epoch."""
    views = [c.view() for c in coordinators]
    leaders = {(v["leader"], v["epoch"]) for v in views}
    return views[0]["leader"] if len(leaders) == 1 else None


def leaders_by_epoch(coordinators: Iterable[Coordinator]) -> dict[int, set[str]]:
    """Who has led in each epoch, by the logs of all."""
    found: dict[int, set[str]] = defaultdict(set)
    for coordinator in coordinators:
        for epoch in coordinator.led():
            found[epoch].add(coordinator.name)
    return dict(found)
