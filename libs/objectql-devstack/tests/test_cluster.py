"""The cluster's processes on real data services, with a service that only says that it is ready."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import jwt
import psutil
import pytest

from objectql_devstack import DevStackError, PortTakenError
from objectql_devstack.cluster import Cluster
from objectql_devstack.processes import identify, wait_until
from objectql_devstack.services import PublicPort, Service, Wiring

pytestmark = pytest.mark.servers

PROGRAM = (sys.executable, str(Path(__file__).with_name("fake_service.py")))


def variables(told: Wiring) -> Mapping[str, str]:
    return {
        "FAKE_ADMIN_PORT": str(told.admin_port),
        "FAKE_PORT": str(told.port),
        "FAKE_INSTANCE": told.instance,
        "FAKE_SOURCES": ",".join(told.databases),
        "FAKE_BUS": told.data.nats_url_of("kernel"),
    }


KERNEL = Service("kernel", "fake", count=2, tier=2, variables=variables, command=PROGRAM)
GATEWAY = Service(
    "gateway-rest",
    "fake",
    count=1,
    tier=4,
    variables=variables,
    command=PROGRAM,
    public=PublicPort("OQL_REST_PORT", 8080, ("OQL_REST_URL", "http://127.0.0.1:{port}")),
)
ABSENT = Service("gateway-ws", "objectql_no_such_service", count=1, tier=4, variables=variables)
ROWS = (KERNEL, GATEWAY, ABSENT)


def pids(cluster: Cluster) -> dict[str, int]:
    return {path.stem: int(path.read_text()) for path in cluster.state.run.glob("*.pid")}


def end(pid: int) -> None:
    """Kill a process as somebody else would; it is gone when this returns."""
    process = psutil.Process(pid)
    process.kill()
    assert wait_until(lambda: identify(pid, process.create_time()) is None, 10.0)


def asked(cluster: Cluster, name: str, variable: str) -> str:
    port = cluster.state.known_port(f"{name}/admin")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{variable}", timeout=2) as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(
        tmp_path_factory.mktemp("cluster"),
        ports="free",
        services=ROWS,
        databases=("objectql", "east"),
        extra_env={"kernel-1": {"FAKE_EXTRA": "one"}, "kernel": {"FAKE_ALL": "both"}},
        ephemeral=True,
    ) as running:
        yield running


def test_every_installed_row_runs_and_is_told_what_it_needs(cluster: Cluster) -> None:
    assert cluster.names == ("kernel-1", "kernel-2", "gateway-rest-1")
    assert asked(cluster, "kernel-2", "FAKE_INSTANCE") == "kernel-2"
    assert asked(cluster, "kernel-2", "FAKE_BUS") == cluster.data.nats_url_of("kernel")
    assert asked(cluster, "kernel-1", "FAKE_SOURCES") == "east"
    assert [asked(cluster, f"kernel-{n}", "FAKE_EXTRA") for n in (1, 2)] == ["one", ""]
    assert [asked(cluster, f"kernel-{n}", "FAKE_ALL") for n in (1, 2)] == ["both", "both"]


def test_dev_env_holds_every_address_and_a_token_of_an_administrator(cluster: Cluster) -> None:
    lines = cluster.state.env_file.read_text().splitlines()
    env = dict(line.split("=", 1) for line in lines)
    assert env == cluster.env
    assert cluster.state.env_file.stat().st_mode & 0o077 == 0
    port = cluster.state.known_port("gateway-rest-1")
    assert env["OQL_REST_URL"] == f"http://127.0.0.1:{port}"
    claims = jwt.decode(env["OQL_ADMIN_TOKEN"], env["OQL_JWT_SECRET"], algorithms=["HS256"])
    assert (claims["sub"], claims["tenant"], claims["roles"]) == (
        "admin",
        "default",
        ["admin", "system"],
    )


def test_starting_again_restarts_only_what_died(cluster: Cluster) -> None:
    before = pids(cluster)
    end(before["kernel-1"])
    end(before["redis-1"])
    cluster.start()
    after = pids(cluster)
    assert {name for name in before if before[name] != after[name]} == {"kernel-1", "redis-1"}
    assert all(row.condition == "ready" for row in cluster.status())


def test_faults_show_in_the_status(cluster: Cluster) -> None:
    def condition(name: str) -> str:
        return next(row.condition for row in cluster.status() if row.name == name)

    cluster.freeze("kernel-2")
    assert condition("kernel-2") == "frozen"
    cluster.thaw("kernel-2")
    cluster.wait_ready("kernel-2", 5)
    assert condition("kernel-2") == "ready"
    before = cluster.pid("kernel-2")
    cluster.kill("kernel-2")
    cluster.restart("kernel-2")
    assert cluster.pid("kernel-2") != before
    end(cluster.pid("nats"))
    assert condition("nats-1") == "dead"
    cluster.restart("nats")
    assert condition("nats-1") == "ready"


def test_a_service_that_ends_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = Cluster(
        tmp_path,
        ports="free",
        services=ROWS,
        ephemeral=True,
        extra_env={"kernel-2": {"FAKE_MOOD": "broken"}},
    )
    with pytest.raises(DevStackError, match=r"kernel-2 ended before it was ready(.|\n)*the reason"):
        broken.start()
    assert pids(broken) == {}


def test_a_developers_cluster_outlives_commands_scales_and_goes(tmp_path: Path) -> None:
    def cluster(kernels: int) -> Cluster:
        load = (sys.executable, "-c", "import os; print('x', file=open('loaded', 'a'))")
        return Cluster(tmp_path, ports="free", services=ROWS, kernels=kernels, loaders=[load])

    first = cluster(1)
    try:
        before = pids(first.start())
        token = first.env["OQL_ADMIN_TOKEN"]
        second = cluster(3).start()
        grown = pids(second)
        assert {name: grown[name] for name in before} == before
        assert grown.keys() - before.keys() == {"kernel-2", "kernel-3"}
        assert second.env["OQL_ADMIN_TOKEN"] == token
        assert (tmp_path / "loaded").read_text() == "x\nx\n"
        assert pids(cluster(1).start()) == before
    finally:
        stopped = Cluster(tmp_path).stop()
    assert {"kernel-1", "gateway-rest-1", "nats-1", "postgres-replica-1"} <= set(stopped)
    assert not any(psutil.pid_exists(pid) for pid in grown.values())
    assert list(first.state.run.iterdir()) == []
    assert not first.state.env_file.exists()
    assert (first.state.logs / "kernel-1.log").exists()
    first.state.purge()
    assert list(first.state.data.iterdir()) == []


def test_a_taken_public_port_is_reported_with_its_holder_and_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        monkeypatch.setenv("OQL_REST_PORT", str(stranger.getsockname()[1]))
        with pytest.raises(
            PortTakenError, match=f"taken by process {os.getpid()} .*set OQL_REST_PORT"
        ):
            Cluster(tmp_path, services=[replace(GATEWAY)], ephemeral=True).start()
    assert list((tmp_path / ".objectql" / "run").iterdir()) == []


def test_the_command_starts_tells_and_stops(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "objectql_devstack.cli", *words, "--root", str(tmp_path)]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    assert run("status").stdout == "nothing is running\n"
    assert "no log of kernel" in run("logs", "kernel").stderr
    assert run("down").stdout == "nothing was running\n"
