"""A real Prometheus that scrapes a running cluster has an answer to every panel and every alert."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from deploy.monitoring.alerts import ALERTS
from deploy.monitoring.boards import BOARDS
from tests.clusters import BANK, CRM, body, client, eventually
from tests.live.sockets import open_socket
from tests.transfers import open_accounts, transfer

from objectql_devstack.cluster import Cluster
from objectql_devstack.ports import free_port

pytestmark = pytest.mark.servers

EXPRESSIONS = {
    *(
        query.expression
        for board in BOARDS
        for row in board.rows
        for panel in row.panels
        for query in panel.queries
    ),
    *(alert.value for alert in ALERTS),
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    with Cluster(
        tmp_path_factory.mktemp("monitored"),
        ports="free",
        kernels=1,
        counts={"coordinator": 1},
        metadata=[CRM, BANK],
        databases=("objectql", "east", "west"),
        ephemeral=True,
        extra_env={"gateway-rest": {"OQL_GATEWAY_REST_RATES__ADDRESS": "1/h"}},
    ) as running:
        yield running


def scraping(cluster: Cluster) -> dict[str, Any]:
    """A configuration whose jobs are called like the services."""
    jobs: dict[str, list[str]] = {}
    for name in cluster.names:
        address = f"127.0.0.1:{cluster.state.known_port(f'{name}/admin')}"
        jobs.setdefault(name.rpartition("-")[0], []).append(address)
    return {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": targets}]}
            for job, targets in jobs.items()
        ],
    }


@pytest.fixture
def prometheus(cluster: Cluster, tmp_path: Path) -> Generator[str]:
    port = free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(json.dumps(scraping(cluster)))  # YAML knows all of JSON
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


async def cause_everything(cluster: Cluster) -> None:
    """Something of all that is counted, once."""
    env = cluster.env
    async with (
        client(env) as http,
        client(env, token="nobody") as stranger,
        open_socket(env["OQL_WS_URL"], env["OQL_ADMIN_TOKEN"]) as socket,
        open_socket(env["OQL_WS_URL"], None) as silent,
    ):
        await open_accounts(http, "a")
        assert (await transfer(http, "a", 1)).status_code == 200
        await socket.subscribe("account")
        hook = {
            "name": "all",
            "url": "http://127.0.0.1:1/",  # nobody is there, which counts as an attempt
            "objects": ["account"],
            "run_as": {"roles": ["admin"]},
        }
        assert (await http.post("/api/admin/webhooks", content=body(hook))).status_code == 201
        for number in range(5):
            made = await http.post("/api/account", content=body({"name": f"No. {number}"}))
            assert made.status_code == 201, made.text
            at = f"/api/account/{made.json()['id']}"
            token = made.headers["Oql-Consistency-Token"]
            for headers in ({"Oql-Consistency-Token": token}, {}, {}):
                assert (await http.get(at, headers=headers)).status_code == 200
        assert (await stranger.get("/api/account")).status_code == 401
        who = body({"name": "nobody", "password": "guessed"})
        tried = [(await stranger.post("/api/auth/sign-in", content=who)).status_code for _ in "ab"]
        assert tried == [401, 429]
        await socket.events(5)
        await silent.say(type="auth", token="nobody")
        await silent.closed()
    cluster.data.kill("replica")


async def read_and_write(cluster: Cluster) -> None:
    """What happens all the time: a ratio has no answer while nothing does."""
    env = cluster.env
    async with (
        client(env) as http,
        open_socket(env["OQL_WS_URL"], env["OQL_ADMIN_TOKEN"]) as socket,
    ):
        await socket.subscribe("account")
        made = await http.post("/api/account", content=body({"name": f"Again {uuid4()}"}))
        assert made.status_code == 201, made.text
        assert (await http.get("/api/account", params={"$top": 1})).status_code == 200
        await socket.events(1)


async def test_every_panel_and_every_alert_has_an_answer(cluster: Cluster, prometheus: str) -> None:
    async with httpx.AsyncClient(base_url=prometheus) as http:

        async def is_ready() -> bool:
            return (await http.get("/-/ready")).status_code == 200

        await eventually(is_ready, within_s=30, what="Prometheus being ready")
        await cause_everything(cluster)

        async def unanswered() -> list[str]:
            missing: list[str] = []
            for expression in sorted(EXPRESSIONS):
                answer = await http.get("/api/v1/query", params={"query": expression})
                told = answer.json()
                assert told["status"] == "success", (expression, told)
                results = told["data"]["result"]
                if not any(each["value"][1] != "NaN" for each in results):
                    missing.append(expression)
            return missing

        missing: list[str] = []

        async def is_complete() -> bool:
            await read_and_write(cluster)
            missing[:] = await unanswered()
            return not missing

        try:
            await eventually(is_complete, within_s=60, what="an answer to everything")
        except AssertionError as exc:
            exc.add_note("\n".join(missing))
            raise
