"""The images of `make images` serve as an orchestrator runs them: no root, no capability, nothing writable."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping

import httpx
import pytest
from tests.clusters import CRM, ROOT

from objectql_devstack import DataStack
from objectql_devstack.engine import container_name, docker, identity
from objectql_devstack.ports import free_port
from objectql_devstack.processes import wait_until
from objectql_devstack.tokens import admin_token

pytestmark = [pytest.mark.containers, pytest.mark.timeout(600)]

SECRET = "a secret of at least 32 characters"
CONTEXT_KEY = "another secret of at least 32 characters"
NAMES = ("kernel-1", "coordinator-1", "gateway-rest-1")
HARDENED = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--health-interval", "1s"),
)


@pytest.fixture(scope="module")
def images() -> str:
    """The prefix of images built from the sources as they are."""
    prefix = "objectql-test/"
    built = subprocess.run(
        [ROOT / "scripts" / "images.sh"],
        check=False,
        env={**os.environ, "OQL_IMAGE_PREFIX": prefix},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr[-4000:]
    assert [line.split()[0] for line in built.stdout.splitlines()] == [
        f"{prefix}{service}:latest"
        for service in ("kernel", "gateway-rest", "gateway-ws", "gateway-grpc", "coordinator")
    ]
    return prefix


def run(
    stack: DataStack, name: str, image: str, variables: Mapping[str, str], *options: str
) -> None:
    known = identity(stack.state, name, disposable=True)
    words = [word for key, value in variables.items() for word in ("--env", f"{key}={value}")]
    docker("run", "--detach", *known, *HARDENED, *words, *options, image)


def inspected(stack: DataStack, name: str, form: str) -> str:
    return docker("inspect", "--format", form, container_name(stack.state, name))


def is_healthy(stack: DataStack, name: str) -> bool:
    """Whether the image's own health check says so."""
    return inspected(stack, name, "{{.State.Health.Status}}") == "healthy"


@pytest.fixture(scope="module")
def cluster(
    images: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DataStack, str]]:
    """Data services and one container of every image, and the URL of the gateway."""
    folder = tmp_path_factory.mktemp("images")
    bus, port = "nats://nats-1:4222", free_port()
    need = {"nats", "postgres", "zookeeper"}
    with DataStack.start(folder, need=need, mode="containers") as stack:
        run(
            stack,
            "kernel-1",
            f"{images}kernel",
            {
                "OQL_KERNEL_BUS__URL": bus,
                "OQL_KERNEL_BUS__CONTEXT_KEY": CONTEXT_KEY,
                "OQL_KERNEL_DATASOURCES__DEFAULT": "postgresql://postgres@postgres-1/objectql",
                "OQL_KERNEL_METADATA": "/metadata/crm",
            },
            *("--volume", f"{CRM}:/metadata/crm:ro"),
        )
        run(
            stack,
            "coordinator-1",
            f"{images}coordinator",
            {
                "OQL_COORDINATOR_BUS__URL": bus,
                "OQL_COORDINATOR_BUS__CONTEXT_KEY": CONTEXT_KEY,
                "OQL_COORDINATOR_ZOOKEEPER__HOSTS": "zookeeper-1:2181",
            },
        )
        run(
            stack,
            "gateway-rest-1",
            f"{images}gateway-rest",
            {
                "OQL_GATEWAY_REST_BUS__URL": bus,
                "OQL_GATEWAY_REST_BUS__CONTEXT_KEY": CONTEXT_KEY,
                "OQL_GATEWAY_REST_AUTH__JWT_SECRET": SECRET,
            },
            *("--publish", f"127.0.0.1:{port}:8080"),
        )
        for name in NAMES:
            healthy = wait_until(lambda name=name: is_healthy(stack, name), 60, poll_s=0.2)
            assert healthy, docker("logs", "--tail", "30", container_name(stack.state, name))
        yield stack, f"http://127.0.0.1:{port}"


def test_no_healthy_image_runs_as_root(cluster: tuple[DataStack, str]) -> None:
    stack, _ = cluster
    for name in NAMES:
        assert is_healthy(stack, name)
        assert docker("exec", container_name(stack.state, name), "id", "-u") == "10001"


def test_a_record_is_written_and_read_through_the_images(cluster: tuple[DataStack, str]) -> None:
    _, url = cluster
    headers = {"Authorization": f"Bearer {admin_token(SECRET)}"}
    with httpx.Client(base_url=url, headers=headers, timeout=10) as http:

        def is_served() -> bool:
            return http.get("/api/account").status_code == 200

        assert wait_until(is_served, 30, poll_s=0.2), http.get("/api/account").text
        created = http.post("/api/account", json={"name": "Contained"})
        assert created.status_code == 201, created.text
        assert http.get(created.headers["Location"]).json()["name"] == "Contained"


def test_every_image_ends_in_good_order_on_sigterm(cluster: tuple[DataStack, str]) -> None:
    stack, _ = cluster
    for name in reversed(NAMES):
        docker("stop", "--time", "30", container_name(stack.state, name))
        assert inspected(stack, name, "{{.State.ExitCode}}") == "0", name
